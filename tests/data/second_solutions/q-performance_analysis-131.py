import csv
import json
from collections import defaultdict


def percentile(values, share):
    ordered = sorted(values)
    position = (len(ordered) - 1) * share
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


setups = defaultdict(list)
rejected, octets = defaultdict(int), defaultdict(int)
slices = set()
with open("sessions.csv", newline="") as source:
    for row in csv.DictReader(source):
        name = row["snssai"]
        if not name:
            continue
        slices.add(name)
        if row["event"] == "PDU-SESSION-ESTABLISHED":
            setups[name].append(float(row["setup_ms"]))
        elif row["event"] == "PDU-SESSION-REJECTED":
            rejected[name] += 1
        if row["dl_bytes"]:
            octets[name] += int(row["dl_bytes"])

result = {}
for name in sorted(slices):
    established = len(setups[name])
    result[name] = {
        "established": established,
        "rejected": rejected[name],
        "success_pct": round(100 * established / (established + rejected[name]), 2),
        "p95_setup_ms": round(percentile(setups[name], 0.95), 3),
        "dl_mb": round(octets[name] / 10**6, 3),
    }
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
