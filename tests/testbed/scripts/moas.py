"""Prefixes with several origins (MOAS) in the tables of four collectors, and prefixes that get a new origin later."""

import json
from collections import defaultdict

import pybgpstream

stream = pybgpstream.BGPStream(
    from_time="2021-03-01 08:00:00",
    until_time="2021-03-01 09:00:00",
    collectors=["rrc00", "rrc04", "route-views.sg", "route-views2"],
    record_types=["ribs", "updates"],
)

origins = defaultdict(set)
added = {}
for elem in stream:
    if elem.type not in ("R", "A"):
        continue
    prefix = elem.fields["prefix"]
    origin = elem.fields["as-path"].split()[-1]
    if origin.startswith("{"):  # an AS_SET: the aggregate has no single origin
        continue
    if elem.type == "R":
        origins[prefix].add(origin)
    elif prefix in origins and origin not in origins[prefix]:
        first = added.setdefault(f"{prefix} {origin}", {"time": elem.time, "peers": []})
        first["time"] = min(first["time"], elem.time)  # collectors are merged to the second
        if elem.peer_address not in first["peers"]:
            first["peers"].append(elem.peer_address)

moas = {prefix: sorted(map(int, ases)) for prefix, ases in origins.items() if len(ases) > 1}
print(f"{len(origins)} prefixes, {len(moas)} with several origins")
for prefix, ases in sorted(moas.items()):
    print(f"{prefix:24} {' '.join(map(str, ases))}")
for key, first in added.items():
    print(f"{key:40} new at {first['time']:.6f}, {len(first['peers'])} peers")

with open("result.json", "w") as file:
    json.dump({"moas": moas, "added": added}, file, indent=1)
