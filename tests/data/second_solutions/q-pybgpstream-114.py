import json
from collections import defaultdict
from datetime import UTC, datetime

import pybgpstream

COLLECTORS = ["rrc00", "rrc04", "route-views.sg", "route-views2"]


def read(kind, until):
    stream = pybgpstream.BGPStream(
        from_time="2024-03-05 08:00:00", until_time=until, collectors=COLLECTORS, record_types=[kind]
    )
    for elem in stream:
        if elem.type not in ("R", "A"):
            continue
        path = elem.fields["as-path"].split()
        if path and path[-1].isdigit():
            yield elem, elem.fields["prefix"], int(path[-1])


expected = defaultdict(set)
for _, prefix, origin in read("ribs", "2024-03-05 08:00:00"):
    expected[prefix].add(origin)

conflicts = defaultdict(list)
for elem, prefix, origin in read("updates", "2024-03-05 09:00:00"):
    if prefix in expected and origin not in expected[prefix]:
        conflicts[prefix, origin].append((elem.time, elem.peer_address, elem.collector))

(prefix, attacker), seen = max(conflicts.items(), key=lambda item: len({peer for _, peer, _ in item[1]}))
result = {
    "prefix": prefix,
    "attacker": attacker,
    "victims": sorted(expected[prefix]),
    "sessions": len({peer for _, peer, _ in seen}),
    "collectors": sorted({collector for _, _, collector in seen}),
    "first_seen": datetime.fromtimestamp(min(time for time, _, _ in seen), UTC).strftime("%H:%M:%S"),
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
