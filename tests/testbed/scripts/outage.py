"""Outages: origin ASes that lost the routes to all of their prefixes at all peers, when, and for how long."""

import json
from collections import defaultdict

import pybgpstream

stream = pybgpstream.BGPStream(
    from_time="2018-09-01 08:00:00 UTC",
    until_time="2018-09-01 09:00:00 UTC",
    collectors=["rrc00", "rrc04", "route-views.sg", "route-views2"],
)

prefixes, origins, peers_of = defaultdict(set), defaultdict(set), defaultdict(set)
withdrawn, returned, lost = defaultdict(list), defaultdict(list), defaultdict(set)
dark: dict[str, float] = {}
dumps = set()
for rec in stream.records():
    if rec.status != "valid":
        print("skipped", rec)
        continue
    dumps.add((rec.project, rec.collector, rec.type, rec.dump_time))
    for elem in rec:
        if elem.type == "S":
            continue
        prefix, peer = elem.fields["prefix"], elem.peer_address
        if elem.type == "R":
            origin = elem.fields["as-path"].split()[-1]
            prefixes[origin].add(prefix)
            origins[prefix].add(origin)
            peers_of[prefix].add(peer)
        elif elem.type == "A":
            if peer in lost[prefix] and peer not in peers_of[prefix]:
                returned[prefix].append(rec.time)
            peers_of[prefix].add(peer)
        elif peer in peers_of[prefix]:
            peers_of[prefix].discard(peer)
            lost[prefix].add(peer)
            withdrawn[prefix].append(rec.time)
            for origin in origins[prefix]:
                if not any(peers_of[other] for other in prefixes[origin]):
                    dark.setdefault(origin, rec.time)

result = {}
for origin, time in sorted(dark.items(), key=lambda item: item[1]):
    start = min(time for prefix in prefixes[origin] for time in withdrawn[prefix])
    back = [time for prefix in prefixes[origin] for time in returned[prefix]]
    end = max(back, default=None)
    missing = {name: sorted(lost[name]) for name in sorted(prefixes[origin])}
    result[origin] = {"start": start, "dark": time, "end": end, "lost": missing}
    print(f"AS{origin:7} {len(prefixes[origin])} prefixes, dark at {time:.0f}, back at {end or 0:.0f}")
print(f"{len(dumps)} dumps read")

with open("result.json", "w") as file:
    json.dump({"outages": result, "dumps": len(dumps)}, file, indent=1)
