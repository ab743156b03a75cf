import json
from collections import Counter, defaultdict

import pybgpstream

stream = pybgpstream.BGPStream(
    from_time="2024-03-05 08:00:00",
    until_time="2024-03-05 09:00:00",
    collectors=["rrc00", "rrc04", "route-views.sg", "route-views2"],
    record_types=["ribs", "updates"],
)
routes = {}
for elem in stream:
    if elem.type not in ("R", "A", "W"):
        continue
    key = (elem.peer_address, elem.fields["prefix"])
    if elem.type == "W":
        routes.pop(key, None)
    else:
        routes[key] = elem.fields["as-path"]

origins = defaultdict(Counter)
for (_, prefix), path in routes.items():
    last = path.split()[-1] if path else ""
    if last.isdigit():
        origins[prefix][last] += 1

with open("result.json", "w") as out:
    json.dump({prefix: seen for prefix, seen in sorted(origins.items()) if len(seen) >= 2}, out, indent=2)
