import json

import pybgpstream

stream = pybgpstream.BGPStream(project="ris-live")
counts, prefixes = {}, {}
times = []
for elem in stream:
    if elem.type not in ("A", "W"):
        continue
    row = counts.setdefault(elem.collector, {"announcements": 0, "withdrawals": 0})
    row["announcements" if elem.type == "A" else "withdrawals"] += 1
    prefixes.setdefault(elem.collector, set()).add(elem.fields["prefix"])
    times.append(elem.time)

result = {name: {**row, "prefixes": len(prefixes[name])} for name, row in counts.items()}
result["span_seconds"] = round(max(times) - min(times))
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
