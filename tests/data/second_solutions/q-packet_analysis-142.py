import json
import socket
import struct
from collections import defaultdict

HOST = "192.168.10.15"

probes = {}
answers = defaultdict(list)
with open("capture.pcap", "rb") as capture:
    capture.read(24)
    while header := capture.read(16):
        seconds, micros, size, _ = struct.unpack("<IIII", header)
        time = seconds * 10**6 + micros
        frame = capture.read(size)
        if frame[12:14] != b"\x08\x00":
            continue
        packet = frame[14:]
        source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
        payload = packet[(packet[0] & 15) * 4 :]
        if int.from_bytes(packet[6:8], "big") & 0x1FFF:
            continue
        if packet[9] == 17 and source == HOST:
            port = int.from_bytes(payload[2:4], "big")
            if 33434 <= port <= 33523:
                probes[target, port] = (packet[8], time)
        elif packet[9] == 1 and payload[:2] in (b"\x0b\x00", b"\x03\x03"):
            quoted = payload[8:]
            if quoted[9] == 17:
                port_at = (quoted[0] & 15) * 4 + 2
                port = int.from_bytes(quoted[port_at : port_at + 2], "big")
                answers[socket.inet_ntoa(quoted[16:20]), port].append((source, time))

traces = defaultdict(dict)
for (target, port), (ttl, sent) in probes.items():
    hop = traces[target].setdefault(ttl, {"routers": set(), "rtts": []})
    for router, time in answers[target, port]:
        hop["routers"].add(router)
        hop["rtts"].append((time - sent) / 1000)

result = {}
for target, hops in traces.items():
    result[target] = []
    for ttl, hop in sorted(hops.items()):
        assert len(hop["routers"]) < 2
        router = next(iter(hop["routers"]), None)
        rtt = round(min(hop["rtts"]), 3) if hop["rtts"] else None
        result[target].append({"ttl": ttl, "router": router, "min_rtt_ms": rtt})

with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
