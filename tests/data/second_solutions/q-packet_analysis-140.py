import json
import socket
import struct
from collections import Counter, defaultdict

AMF = "10.100.2.1"
DATA, INIT, INIT_ACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN = 0, 1, 2, 4, 5, 6, 7


def chunks(path):
    """Time in microseconds, source, target, type and value of each SCTP chunk."""
    with open(path, "rb") as capture:
        capture.read(24)
        while header := capture.read(16):
            seconds, micros, size, _ = struct.unpack("<IIII", header)
            frame = capture.read(size)
            if frame[12:14] != b"\x08\x00" or frame[23] != 132:
                continue
            packet = frame[14 : 14 + int.from_bytes(frame[16:18], "big")]
            source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
            at = (packet[0] & 15) * 4 + 12
            while at + 4 <= len(packet):
                kind, _, length = struct.unpack_from("!BBH", packet, at)
                yield seconds * 10**6 + micros, source, target, kind, packet[at + 4 : at + length]
                at += max(4, (length + 3) // 4 * 4)


associations = defaultdict(list)
for time, source, target, kind, value in chunks("n2.pcap"):
    if AMF in (source, target):
        associations[target if source == AMF else source].append((time, source, kind, value))

result = {}
for gnb, found in associations.items():
    init = next(time for time, source, kind, _ in found if kind == INIT and source == gnb)
    answer, amf_tag = next((time, value[:4]) for time, _, kind, value in found if kind == INIT_ACK)
    beat, info = next((time, value) for time, source, kind, value in found if kind == HEARTBEAT and source == gnb)
    echo = next(time for time, source, kind, value in found if (source, kind, value) == (AMF, HEARTBEAT_ACK, info))
    sent = Counter((source, value[:4]) for _, source, kind, value in found if kind == DATA)
    ends = [time for time, _, kind, _ in found if kind in (ABORT, SHUTDOWN)]
    result[gnb] = {
        "amf_tag": int.from_bytes(amf_tag, "big"),
        "handshake_ms": round((answer - init) / 1000, 3),
        "heartbeat_ms": round((echo - beat) / 1000, 3),
        "repeated_tsns": sorted(int.from_bytes(tsn, "big") for (_, tsn), count in sent.items() if count > 1),
        "ended": round(min(ends) / 1e6, 6) if ends else None,
    }

with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
