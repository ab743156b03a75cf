import json
from collections import Counter, defaultdict

from scapy.all import IP, TCP, IPv6, PcapReader


def server_name(record):
    """The first host name of a ClientHello's server_name extension, None without one."""
    at = 5 + 4 + 2 + 32
    at += 1 + record[at]
    at += 2 + int.from_bytes(record[at : at + 2], "big")
    at += 1 + record[at]
    end = at + 2 + int.from_bytes(record[at : at + 2], "big")
    at += 2
    while at + 4 <= end:
        kind = int.from_bytes(record[at : at + 2], "big")
        size = int.from_bytes(record[at + 2 : at + 4], "big")
        if kind == 0:
            entry = record[at + 6 : at + 4 + size]
            while len(entry) >= 3:
                length = int.from_bytes(entry[1:3], "big")
                if entry[0] == 0:
                    return entry[3 : 3 + length].decode("ascii")
                entry = entry[3 + length :]
        at += 4 + size
    return None


hellos = Counter()
clients = defaultdict(set)
with PcapReader("web.pcap") as packets:
    for packet in packets:
        if TCP not in packet or packet[TCP].dport != 443:
            continue
        payload = bytes(packet[TCP].payload)
        if len(payload) < 6 or payload[0] != 22 or payload[5] != 1:
            continue
        name = server_name(payload)
        if name is not None:
            hellos[name] += 1
            clients[name].add(packet[IP].src if IP in packet else packet[IPv6].src)

result = {"by_name": hellos, "clients": {name: sorted(found) for name, found in clients.items()}}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
