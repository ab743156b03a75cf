"""A look at RIS Live: the first elements of the stream, by type and by peer."""

import json
import time
from collections import Counter

import pybgpstream

ELEMENTS, SECONDS = 10_000, 30

stream = pybgpstream.BGPStream(project="ris-live")
by_type, by_peer = Counter(), Counter()
started = time.time()
first = last = None
for number, elem in enumerate(stream, start=1):
    by_type[elem.type] += 1
    by_peer[f"{elem.collector} {elem.peer_asn} {elem.peer_address}"] += 1
    first = first or elem.time
    last = elem.time
    if number == ELEMENTS or time.time() - started > SECONDS:
        break

print("   ".join(f"{kind}: {count}" for kind, count in sorted(by_type.items())))
for peer, count in by_peer.most_common():
    print(f"{peer:40} {count:6}")

with open("result.json", "w") as file:
    json.dump({"by_type": by_type, "by_peer": by_peer, "first": first, "last": last}, file, indent=1)
