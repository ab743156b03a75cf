import json
import socket
import struct
from collections import Counter
from ipaddress import ip_address, ip_network

CLIENTS = ip_network("192.168.10.0/24")
FIN, SYN, RST, ACK = 1, 2, 4, 16


def segments(path):
    with open(path, "rb") as capture:
        capture.read(24)
        while header := capture.read(16):
            frame = capture.read(struct.unpack("<IIII", header)[2])
            if frame[12:14] != b"\x08\x00" or frame[23] != 6:
                continue
            packet = frame[14 : 14 + int.from_bytes(frame[16:18], "big")]
            tcp = packet[(packet[0] & 15) * 4 :]
            sport, dport, seq, ack, offset, flags, window = struct.unpack_from("!HHIIBBH", tcp)
            source = (socket.inet_ntoa(packet[12:16]), sport)
            target = (socket.inet_ntoa(packet[16:20]), dport)
            yield source, target, seq, ack, flags, window, len(tcp) - (offset >> 4) * 4


def beyond(a, b):
    """Whether sequence number a lies after b."""
    return 0 < (a - b) % 2**32 < 2**31


sent_until = {}
acknowledged = {}
last_window = {}
duplicates = Counter()
for source, target, seq, ack, flags, window, size in segments("loss.pcap"):
    if ip_address(source[0]) in CLIENTS:
        key = (source, target)
        end = (seq + size) % 2**32
        if size and (key not in sent_until or beyond(end, sent_until[key])):
            sent_until[key] = end
        continue
    key = (target, source)
    if not flags & ACK:
        continue
    if (
        not size
        and not flags & (SYN | FIN | RST)
        and ack == acknowledged.get(key)
        and window == last_window[key]
        and key in sent_until
        and beyond(sent_until[key], ack)
    ):
        duplicates[key, ack] += 1
    if key not in acknowledged or beyond(ack, acknowledged[key]):
        acknowledged[key] = ack
    last_window[key] = window

by_connection = Counter()
for ((client, _), _), count in duplicates.items():
    by_connection[f"{client[0]}:{client[1]}"] += count
result = {
    "total": duplicates.total(),
    "by_connection": by_connection,
    "largest": max(duplicates.values(), default=0),
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
