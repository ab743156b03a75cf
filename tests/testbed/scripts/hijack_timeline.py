"""Timeline of a hijack: which peers switched to a wrong origin of a watched prefix, when, and when they switched back.

watch.json: {"prefix": "192.0.2.0/24", "origin": 64500}
"""

import json
from datetime import UTC, datetime

import pybgpstream

with open("watch.json") as file:
    watch = json.load(file)

stream = pybgpstream.BGPStream(
    from_time="2021-03-01 08:00:00",
    until_time="2021-03-01 09:00:00",
    collectors=["rrc00", "rrc04", "route-views.sg", "route-views2"],
    filter=f"prefix exact {watch['prefix']}",
)

origin_at: dict[str, int | None] = {}
first_seen: dict[str, float] = {}
back, suspects, timeline = {}, set(), []
for elem in stream:
    if elem.type == "S":
        continue
    peer = elem.peer_address
    origin = int(elem.fields["as-path"].split()[-1]) if elem.type in "RA" else None
    wrong = origin not in (None, watch["origin"])
    if wrong:
        suspects.add(origin)
        first_seen.setdefault(peer, elem.time)
    elif peer in first_seen and origin_at.get(peer) not in (None, watch["origin"]):
        back[peer] = elem.time
    if elem.type != "R" and origin_at.get(peer) != origin:
        timeline.append((elem.time, peer, origin_at.get(peer), origin))
    origin_at[peer] = origin

print(f"{watch['prefix']} of AS{watch['origin']}: {len(first_seen)} of {len(origin_at)} peers switched")
for time, peer, before, after in sorted(timeline, key=lambda change: change[0]):
    clock = datetime.fromtimestamp(time, tz=UTC).strftime("%H:%M:%S.%f")
    print(f"{clock} {peer:24} {before or '-'} -> {after or '-'}")

with open("result.json", "w") as file:
    result = {"suspects": sorted(suspects), "first_seen": first_seen, "back": back, "peers": sorted(origin_at)}
    json.dump(result, file, indent=1)
