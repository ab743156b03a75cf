import json
from collections import defaultdict
from datetime import UTC, datetime

import pybgpstream

COLLECTORS = ["rrc00", "rrc04", "route-views.sg", "route-views2"]


def elements(kind, until):
    return pybgpstream.BGPStream(
        from_time="2024-03-05 08:00:00", until_time=until, collectors=COLLECTORS, record_types=[kind]
    )


def clock(time):
    return datetime.fromtimestamp(int(time), UTC).strftime("%H:%M:%S")


holders = defaultdict(set)
origins = defaultdict(set)
for elem in elements("ribs", "2024-03-05 08:00:00"):
    if elem.type != "R":
        continue
    prefix = elem.fields["prefix"]
    holders[prefix].add(elem.peer_address)
    hops = [hop for hop in elem.fields["as-path"].split() if hop.isdigit()]
    if hops:
        origins[prefix].add(int(hops[-1]))

originated = defaultdict(set)
for prefix, found in origins.items():
    for asn in found:
        originated[asn].add(prefix)
candidates = {
    asn: prefixes
    for asn, prefixes in originated.items()
    if len(prefixes) >= 3 and all(len(origins[prefix]) == 1 for prefix in prefixes)
}
owner = {prefix: asn for asn, prefixes in candidates.items() for prefix in prefixes}

updates = [
    (elem.time, elem.type, elem.peer_address, elem.fields["prefix"])
    for elem in elements("updates", "2024-03-05 09:00:00")
    if elem.type in ("A", "W") and elem.fields["prefix"] in owner
]
updates.sort(key=lambda update: update[0])

down, outages = {}, []
for time, kind, peer, prefix in updates:
    asn = owner[prefix]
    if kind == "A":
        holders[prefix].add(peer)
        if asn in down:
            outages.append((asn, down.pop(asn), time))
    elif peer in holders[prefix]:
        holders[prefix].remove(peer)
        if not any(holders[other] for other in candidates[asn]):
            down[asn] = time

[(asn, since, again)] = outages
result = {
    "asn": asn,
    "prefixes": sorted(candidates[asn]),
    "down_since": clock(since),
    "up_again": clock(again),
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
