"""Route leaks (RFC 7908): paths that go up again after going down or across, according to CAIDA's AS relationships.

as-rel.txt: lines `provider|customer|-1` and `peer|peer|0`
"""

import json
from collections import Counter, defaultdict
from itertools import groupby

import pybgpstream

PROVIDERS, PEERS = defaultdict(set), defaultdict(set)
with open("as-rel.txt") as file:
    for line in file:
        if line.startswith("#"):
            continue
        left, right, kind = map(int, line.split("|"))
        if kind == -1:
            PROVIDERS[right].add(left)
        else:
            PEERS[left].add(right)
            PEERS[right].add(left)


def find_leaks(path: list[int]) -> list[tuple[int, int]]:
    """(leaker, target): the leaker announced to a provider or peer what it learned from another provider or peer."""
    hops = [asn for asn, _ in groupby(path)]
    above = {asn: PROVIDERS[asn] | PEERS[asn] for asn in hops}
    triples = zip(hops, hops[1:], hops[2:], strict=False)
    return [(middle, left) for left, middle, right in triples if left in above[middle] and right in above[middle]]


stream = pybgpstream.BGPStream(
    from_time="2020-05-05 16:00:00", until_time="2020-05-05 17:00:00", projects=["ris", "routeviews"]
)
table: dict[tuple[str, str], list[int]] = {}
found: dict[str, dict] = {}
for elem in stream:
    if elem.type == "S":
        continue
    route = elem.peer_address, elem.fields["prefix"]
    if elem.type == "W":
        table.pop(route, None)
        continue
    path = [int(asn) for asn in elem.fields["as-path"].split() if not asn.startswith("{")]
    before, table[route] = table.get(route), path
    for leak in find_leaks(path):
        if before and leak in find_leaks(before):
            continue  # seen already
        new = {"time": elem.time, "peers": set(), "prefixes": set(), "before": [], "leaked": []}
        entry = found.setdefault(f"{leak[0]} {leak[1]}", new)
        entry["time"] = min(entry["time"], elem.time)  # collectors are merged to the second
        entry["peers"].add(route[0])
        entry["prefixes"].add(route[1])
        if before:
            entry["before"].append(len(before))
            entry["leaked"].append(len(path))

print(f"{len(found)} leaks, {len(table)} routes")
for name, entry in found.items():
    jump = sum(entry["leaked"]) / len(entry["leaked"]) - sum(entry["before"]) / len(entry["before"])
    print(f"{name}: {len(entry['prefixes'])} prefixes, {len(entry['peers'])} peers, paths longer by {jump:.2f}")
    print("  lengths of leaked paths:", dict(sorted(Counter(entry["leaked"]).items())))

with open("result.json", "w") as file:
    json.dump(found, file, default=sorted)
