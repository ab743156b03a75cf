import json
from collections import defaultdict, deque

import pybgpstream

WINDOW = 30

recent = defaultdict(deque)
largest = defaultdict(int)
names = {}
for elem in pybgpstream.BGPStream(project="ris-live"):
    if elem.type not in ("A", "W"):
        continue
    window = recent[elem.peer_address]
    window.append(elem.time)
    while window[0] <= elem.time - WINDOW:
        window.popleft()
    names[elem.peer_address] = elem.peer_asn
    largest[elem.peer_address] = max(largest[elem.peer_address], len(window))

top = max(largest.values())
[address] = [peer for peer, count in largest.items() if count == top]
with open("result.json", "w") as out:
    json.dump({"largest": top, "peer": [names[address], address], "per_peer": largest}, out, indent=2)
