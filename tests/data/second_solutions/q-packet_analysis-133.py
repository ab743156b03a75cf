import json
import socket
import struct
from collections import Counter


def frames(path):
    with open(path, "rb") as capture:
        capture.read(24)
        while header := capture.read(16):
            yield capture.read(struct.unpack("<IIII", header)[2])


attempts = set()
for frame in frames("capture.pcap"):
    kind = frame[12:14]
    if kind == b"\x08\x00" and frame[23] == 6:
        source, target = (socket.inet_ntoa(frame[at : at + 4]) for at in (26, 30))
        tcp = frame[14 + (frame[14] & 15) * 4 :]
    elif kind == b"\x86\xdd" and frame[20] == 6:
        source, target = (socket.inet_ntop(socket.AF_INET6, frame[at : at + 16]) for at in (22, 38))
        tcp = frame[54:]
    else:
        continue
    if tcp[13] & 0x12 == 0x02:
        sport, dport = struct.unpack_from("!HH", tcp)
        attempts.add((source, sport, target, dport))

result = {
    "by_port": Counter(str(dport) for *_, dport in attempts),
    "ipv6": sum(":" in source for source, *_ in attempts),
    "by_client": Counter(source for source, *_ in attempts),
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
