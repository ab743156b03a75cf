import json
import re
import socket
import struct
from collections import defaultdict, deque
from statistics import fmean

AMF = "10.100.2.1"
RAN_UE_ID = re.compile(rb"\x00\x55.\x03\x40(..)", re.DOTALL)


def messages(path):
    """Time in microseconds, gNB and octets of each NGAP message, repeated chunks left out."""
    seen = set()
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
                kind, flags, length = struct.unpack_from("!BBH", packet, at)
                if kind == 0 and flags & 2:
                    tsn, _, _, ppid = struct.unpack_from("!IHHI", packet, at + 4)
                    if ppid == 60 and (source, target, tsn) not in seen:
                        seen.add((source, target, tsn))
                        gnb = target if source == AMF else source
                        yield seconds * 10**6 + micros, gnb, packet[at + 16 : at + length]
                at += max(4, (length + 3) // 4 * 4)


waiting = defaultdict(deque)
answered = {14: [], 28: [], 29: []}
for time, gnb, message in messages("n2.pcap"):
    code = message[1]
    match = RAN_UE_ID.search(message)
    if code not in answered or match is None:
        continue
    ran_id = int.from_bytes(match[1], "big")
    if message[0] == 0x00:
        waiting[gnb, ran_id, code].append(time)
    elif waiting[gnb, ran_id, code]:
        answered[code].append((time - waiting[gnb, ran_id, code].popleft(), gnb, ran_id))

result = {}
for code, rows in answered.items():
    longest, gnb, ran_id = max(rows, key=lambda row: row[0])
    result[str(code)] = {
        "mean_ms": round(fmean(row[0] for row in rows) / 1000, 3),
        "max_ms": round(longest / 1000, 3),
        "slowest": [gnb, ran_id],
    }
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
