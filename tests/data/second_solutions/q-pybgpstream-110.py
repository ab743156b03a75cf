import json
from collections import defaultdict

import pybgpstream

stream = pybgpstream.BGPStream(
    from_time="2024-03-05 08:00:00",
    until_time="2024-03-05 08:00:00",
    collectors=["rrc00", "rrc04", "route-views.sg", "route-views2"],
    record_types=["ribs"],
)
tables = {4: defaultdict(set), 6: defaultdict(set)}
for elem in stream:
    if elem.type != "R":
        continue
    prefix = elem.fields["prefix"]
    version = 6 if ":" in prefix else 4
    tables[version][elem.peer_asn, elem.peer_address].add(prefix)

partial = []
largest = {}
for version, sessions in tables.items():
    largest[version] = max(len(prefixes) for prefixes in sessions.values())
    for (asn, address), prefixes in sessions.items():
        if len(prefixes) * 10 < largest[version] * 6:
            partial.append([asn, address, len(prefixes)])
partial.sort(key=lambda row: row[1])

with open("result.json", "w") as out:
    json.dump({"largest_ipv4": largest[4], "largest_ipv6": largest[6], "partial": partial}, out, indent=2)
