import json
from collections import defaultdict
from itertools import groupby, pairwise

import pybgpstream

COLLECTORS = ["rrc00", "rrc04", "route-views.sg", "route-views2"]
TIER1 = {174, 1299, 2914, 3257, 3356, 6453, 6461, 6762}


def read(kind, until):
    stream = pybgpstream.BGPStream(
        from_time="2024-03-05 08:00:00", until_time=until, collectors=COLLECTORS, record_types=[kind]
    )
    for elem in stream:
        if elem.type in ("R", "A"):
            hops = (int(hop) for hop in elem.fields["as-path"].split() if hop.isdigit())
            yield elem, [asn for asn, _ in groupby(hops)]


known = set()
for _, path in read("ribs", "2024-03-05 08:00:00"):
    known.update(pairwise(path[1:]))

learned, prefixes, sessions = defaultdict(set), defaultdict(set), defaultdict(set)
for elem, path in read("updates", "2024-03-05 09:00:00"):
    for a, b, c in zip(path, path[1:], path[2:], strict=False):
        if (a, b) in known and (b, c) not in known and b not in TIER1:
            learned[a, b].add(c)
            prefixes[a, b].add(elem.fields["prefix"])
            sessions[a, b].add(elem.peer_address)

leak = max(prefixes, key=lambda pair: len(prefixes[pair]))
result = {
    "leaked_to": leak[0],
    "leaker": leak[1],
    "learned_from": sorted(learned[leak]),
    "prefixes": len(prefixes[leak]),
    "sessions": len(sessions[leak]),
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
