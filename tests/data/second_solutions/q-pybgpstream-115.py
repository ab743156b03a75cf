import json
from collections import defaultdict
from ipaddress import ip_network
from statistics import median

import pybgpstream

COLLECTORS = ["rrc00", "rrc04", "route-views.sg", "route-views2"]


def elements(kind, until):
    return pybgpstream.BGPStream(
        from_time="2024-03-05 08:00:00",
        until_time=until,
        collectors=COLLECTORS,
        record_types=[kind],
        filter="ipversion 4",
    )


def origin_of(elem):
    path = elem.fields["as-path"].split()
    return int(path[-1]) if path and path[-1].isdigit() else None


held = set()
origins = defaultdict(set)
for elem in elements("ribs", "2024-03-05 08:00:00"):
    if elem.type == "R":
        network = ip_network(elem.fields["prefix"])
        held.add(network)
        origin = origin_of(elem)
        if origin is not None:
            origins[network].add(origin)


def covering_of(network):
    while network.prefixlen:
        network = network.supernet()
        if network in held:
            return network
    return None


hits = defaultdict(dict)
withdrawals = defaultdict(list)
for elem in elements("updates", "2024-03-05 09:00:00"):
    if elem.type not in ("A", "W"):
        continue
    network = ip_network(elem.fields["prefix"])
    if network in held:
        continue
    if elem.type == "W":
        withdrawals[network, elem.peer_address].append(elem.time)
        continue
    covering = covering_of(network)
    origin = origin_of(elem)
    if covering is not None and origin is not None and origin not in origins[covering]:
        hits[network, covering, origin].setdefault(elem.peer_address, elem.time)

[((network, covering, attacker), first)] = hits.items()
[victim] = origins[covering]
lasted = []
for peer, start in first.items():
    later = [time for time in withdrawals[network, peer] if time > start]
    if later:
        lasted.append(min(later) - start)

result = {
    "prefix": str(network),
    "covering": str(covering),
    "attacker": attacker,
    "victim": victim,
    "median_seconds": round(median(lasted), 1),
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
