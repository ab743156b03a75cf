import json
from datetime import UTC, datetime
from ipaddress import ip_network

import pybgpstream

COLLECTORS = ["rrc00", "rrc04", "route-views.sg", "route-views2"]
BLACKHOLE = "65535:666"


def elements(kind, until):
    return pybgpstream.BGPStream(
        from_time="2024-03-05 08:00:00", until_time=until, collectors=COLLECTORS, record_types=[kind]
    )


def clock(time):
    return datetime.fromtimestamp(int(time), UTC).strftime("%H:%M:%S")


table = {ip_network(elem.fields["prefix"]) for elem in elements("ribs", "2024-03-05 08:00:00") if elem.type == "R"}

holes, withdrawn = {}, {}
for elem in elements("updates", "2024-03-05 09:00:00"):
    if elem.type == "W":
        prefix = elem.fields["prefix"]
        withdrawn[prefix] = max(elem.time, withdrawn.get(prefix, elem.time))
    elif elem.type == "A" and BLACKHOLE in elem.fields["communities"]:
        hole = holes.setdefault(elem.fields["prefix"], {"origins": set(), "peers": set(), "first": elem.time})
        hole["origins"].add(int(elem.fields["as-path"].split()[-1]))
        hole["peers"].add(elem.peer_address)
        hole["first"] = min(hole["first"], elem.time)

result = {}
for prefix, hole in sorted(holes.items()):
    network = ip_network(prefix)
    covering = None
    while network.prefixlen and covering is None:
        network = network.supernet()
        if network in table:
            covering = str(network)
    [origin] = hole["origins"]
    result[prefix] = {
        "origin": origin,
        "sessions": len(hole["peers"]),
        "first": clock(hole["first"]),
        "last": clock(withdrawn[prefix]) if prefix in withdrawn else None,
        "covering": covering,
    }

with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
