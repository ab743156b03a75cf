import json
from ipaddress import ip_address, ip_network
from itertools import pairwise

from scapy.all import IP, TCP, PcapReader

SERVER = ("10.0.80.80", 80)
SPOOFED = ip_network("198.18.0.0/15")
USERS = ip_network("192.168.10.0/24")

syns = []
acknowledged = set()
with PcapReader("capture.pcap") as packets:
    for packet in packets:
        if IP not in packet or TCP not in packet:
            continue
        ip, tcp = packet[IP], packet[TCP]
        kind = int(tcp.flags) & 0x12
        if kind == 0x02 and (ip.dst, tcp.dport) == SERVER:
            syns.append((float(packet.time), ip.src, tcp.sport, (tcp.seq + 1) % 2**32))
        elif kind == 0x12 and (ip.src, tcp.sport) == SERVER:
            acknowledged.add((ip.dst, tcp.dport, tcp.ack))

spoofed = [syn for syn in syns if ip_address(syn[1]) in SPOOFED]
users = [syn for syn in syns if ip_address(syn[1]) in USERS]
answered = [syn[0] for syn in spoofed if syn[1:] in acknowledged]
attempts = {syn[1:3] for syn in users}
served = {syn[1:3] for syn in users if syn[1:] in acknowledged}

result = {
    "sources": len({source for _, source, _, _ in spoofed}),
    "rate": round(len(spoofed) / (spoofed[-1][0] - spoofed[0][0]), 2),
    "answer_gap_s": round(max(b - a for a, b in pairwise(answered)), 3),
    "attempts": len(attempts),
    "shut_out": sorted([address, port] for address, port in attempts - served),
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
