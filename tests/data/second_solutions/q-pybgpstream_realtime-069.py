import json
from collections import defaultdict

import pybgpstream

COLLECTORS = ["rrc00", "rrc04", "route-views.sg", "route-views2"]
WINDOW = 60
PEERS = 4


def read(kind, until):
    stream = pybgpstream.BGPStream(
        from_time="2024-03-05 08:00:00", until_time=until, collectors=COLLECTORS, record_types=[kind]
    )
    for elem in stream:
        if elem.type in ("R", "A"):
            path = elem.fields["as-path"].split()
            if path and path[-1].isdigit():
                yield elem, elem.fields["prefix"], int(path[-1])


known = defaultdict(set)
for _, prefix, origin in read("ribs", "2024-03-05 08:00:00"):
    known[prefix].add(origin)

suspicious = defaultdict(list)
for elem, prefix, origin in read("updates", "2024-03-05 09:00:00"):
    if prefix in known and origin not in known[prefix]:
        suspicious[prefix, origin].append((elem.time, elem.peer_asn))

alarms = []
for (prefix, origin), seen in suspicious.items():
    for now in sorted({time for time, _ in seen}):
        peers = {asn for time, asn in seen if now - WINDOW <= time <= now}
        if len(peers) >= PEERS:
            first = min(time for time, _ in seen)
            alarms.append((prefix, origin, round(now - first, 3), sorted(peers)))
            break

[(prefix, origin, reaction, peers)] = alarms
with open("result.json", "w") as out:
    json.dump({"prefix": prefix, "origin": origin, "reaction_seconds": reaction, "peers": peers}, out, indent=2)
