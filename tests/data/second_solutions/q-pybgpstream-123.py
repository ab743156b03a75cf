import json
from itertools import groupby

import pybgpstream

COLLECTORS = ["route-views2", "route-views.sg"]

stream = pybgpstream.BGPStream(
    from_time="2024-03-05 08:00:00",
    until_time="2024-03-05 09:00:00",
    collectors=COLLECTORS,
    record_types=["ribs", "updates"],
)


def collapsed(path):
    return [hop for hop, _ in groupby(path.split())]


def classify(old, new):
    if old is None:
        return "new"
    if old == new:
        return "duplicate"
    return "other_change" if collapsed(old[0]) == collapsed(new[0]) else "path_change"


counts = {name: dict.fromkeys(("new", "duplicate", "path_change", "other_change", "loss"), 0) for name in COLLECTORS}
routes = {}
for elem in stream:
    if elem.type not in ("R", "A", "W"):
        continue
    key = (elem.collector, elem.peer_address, elem.fields["prefix"])
    if elem.type == "W":
        if routes.pop(key, None) is not None:
            counts[elem.collector]["loss"] += 1
        continue
    route = (elem.fields["as-path"], elem.fields["next-hop"], frozenset(elem.fields["communities"]))
    if elem.type == "A":
        counts[elem.collector][classify(routes.get(key), route)] += 1
    routes[key] = route

with open("result.json", "w") as out:
    json.dump(counts, out, indent=2)
