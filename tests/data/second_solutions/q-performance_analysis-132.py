import csv
import json
from statistics import fmean

# The sign turns "worse" into "larger".
METRICS = {"availability_pct": -1, "dl_throughput_mbps": -1, "latency_ms": 1, "packet_loss_pct": 1}

with open("slices.csv", newline="") as source:
    rows = sorted(csv.DictReader(source), key=lambda row: row["timestamp"])

result = {row["slice"]: [] for row in rows}
for name, violations in result.items():
    for metric, sign in METRICS.items():
        found = []
        for row in rows:
            value, target = float(row[metric]), float(row[f"sla_{metric}"])
            if row["slice"] == name and sign * value > sign * target:
                found.append((row["timestamp"], value, sign * (value - target)))
        if found:
            violations.append(
                {
                    "metric": metric,
                    "first": found[0][0],
                    "last": found[-1][0],
                    "mean": round(fmean(value for _, value, _ in found), 4),
                    "worst": round(max(found, key=lambda hit: hit[2])[1], 4),
                }
            )

with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
