import json
from collections import defaultdict
from statistics import median

import pybgpstream

LONG = 240

gone = {}
absences = defaultdict(lambda: defaultdict(list))
for elem in pybgpstream.BGPStream(project="ris-live"):
    if elem.type not in ("A", "W"):
        continue
    peer, prefix = elem.peer_address, elem.fields["prefix"]
    if elem.type == "W":
        gone.setdefault((peer, prefix), elem.time)
    elif (peer, prefix) in gone:
        absences[prefix][peer].append((gone.pop((peer, prefix)), elem.time))

result = {}
for prefix, by_peer in sorted(absences.items()):
    single = [spans[0] for spans in by_peer.values() if len(spans) == 1]
    long = [(begin, end) for begin, end in single if end - begin >= LONG]
    if len(single) == len(by_peer) and len(long) >= 3:
        result[prefix] = {
            "peers": len(long),
            "median_seconds": round(median(end - begin for begin, end in long), 1),
            "first_back": round(min(end for _, end in long) - min(begin for begin, _ in long)),
        }

with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
