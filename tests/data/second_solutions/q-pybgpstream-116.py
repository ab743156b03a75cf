import json
from collections import defaultdict
from ipaddress import ip_network
from itertools import groupby

import pybgpstream

COLLECTORS = ["rrc00", "rrc04", "route-views.sg", "route-views2"]


def elements(kind, until):
    return pybgpstream.BGPStream(
        from_time="2024-03-05 08:00:00",
        until_time=until,
        collectors=COLLECTORS,
        record_types=[kind],
        filter="ipversion 6",
    )


def path_of(elem):
    return [asn for asn, _ in groupby(elem.fields["as-path"].split())]


origins = defaultdict(set)
for elem in elements("ribs", "2024-03-05 08:00:00"):
    if elem.type == "R":
        origins[ip_network(elem.fields["prefix"])].add(path_of(elem)[-1])


def covered_by_another(network, origin):
    return any(
        origin not in origins[network.supernet(new_prefix=length)]
        for length in range(network.prefixlen)
        if network.supernet(new_prefix=length) in origins
    )


sightings = defaultdict(list)
for elem in elements("updates", "2024-03-05 09:00:00"):
    if elem.type != "A":
        continue
    network = ip_network(elem.fields["prefix"])
    path = path_of(elem)
    if network not in origins and path and path[-1].isdigit() and covered_by_another(network, path[-1]):
        sightings[network, path[-1]].append((elem.time, elem.collector, elem.peer_address, path))

[((network, origin), seen)] = sightings.items()
by_collector = {}
by_session = {}
for time, collector, peer, _ in seen:
    by_collector[collector] = min(time, by_collector.get(collector, time))
    by_session[peer] = min(time, by_session.get(peer, time))

result = {
    "prefix": str(network),
    "origin": int(origin),
    "order": sorted(by_collector, key=lambda name: (by_collector[name], name)),
    "spread_seconds": round(max(by_session.values()) - min(by_session.values()), 3),
    "next_to_origin": sorted({int(path[-2]) for *_, path in seen if len(path) > 1}),
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
