import json
from collections import Counter, defaultdict
from itertools import pairwise
from statistics import median

import pybgpstream

stream = pybgpstream.BGPStream(
    from_time="2024-03-05 08:00:00",
    until_time="2024-03-05 09:00:00",
    collectors=["rrc00", "rrc04", "route-views.sg", "route-views2"],
    record_types=["ribs", "updates"],
)
up = set()
transitions = Counter()
downs = defaultdict(list)
for elem in stream:
    if elem.type not in ("R", "A", "W"):
        continue
    key = (elem.fields["prefix"], elem.peer_address)
    if elem.type == "R":
        up.add(key)
    elif elem.type == "A" and key not in up:
        up.add(key)
        transitions[key] += 1
    elif elem.type == "W" and key in up:
        up.remove(key)
        transitions[key] += 1
        downs[key].append(elem.time)

result = {}
for prefix in sorted({prefix for (prefix, _), count in transitions.items() if count >= 10}):
    counts = [count for (name, _), count in transitions.items() if name == prefix]
    gaps = [b - a for (name, _), times in downs.items() if name == prefix for a, b in pairwise(times)]
    result[prefix] = {
        "transitions": max(counts),
        "sessions": sum(count >= 10 for count in counts),
        "period": int(median(gaps) / 10 + 0.5) * 10,
    }

with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
