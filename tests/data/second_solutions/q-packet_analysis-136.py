import json
import socket
import struct
from collections import Counter

TYPES = {1: "A", 16: "TXT", 28: "AAAA"}


def datagrams(path):
    with open(path, "rb") as capture:
        capture.read(24)
        while header := capture.read(16):
            frame = capture.read(struct.unpack("<IIII", header)[2])
            if frame[12:14] == b"\x08\x00" and frame[23] == 17:
                udp = frame[14 + (frame[14] & 15) * 4 :]
                yield socket.inet_ntoa(frame[30:34]), int.from_bytes(udp[2:4], "big"), udp[8:]


by_type, by_resolver = Counter(), Counter()
names = set()
for resolver, port, message in datagrams("dns.pcap"):
    if port != 53 or message[2] & 0x80:
        continue
    labels = []
    at = 12
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]])
        at += 1 + message[at]
    by_type[TYPES[int.from_bytes(message[at + 1 : at + 3], "big")]] += 1
    by_resolver[resolver] += 1
    names.add(b".".join(labels).lower())

with open("result.json", "w") as out:
    json.dump({"by_type": by_type, "by_resolver": by_resolver, "distinct_names": len(names)}, out, indent=2)
