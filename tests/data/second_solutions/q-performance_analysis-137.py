import csv
import json
from datetime import datetime
from statistics import fmean

with open("kpi.csv", newline="") as source:
    rows = list({tuple(row.items()): row for row in csv.DictReader(source)}.values())

workday, weekend, corrected, samples = [], [], [], []
for row in rows:
    if not row["throughput_mbps"]:
        continue
    mbps = float(row["throughput_mbps"])
    if mbps > 1000:
        mbps /= 1000
        corrected.append((row["timestamp"], row["cell"]))
    day = datetime.fromisoformat(row["timestamp"]).weekday()
    (workday if day < 5 else weekend).append(mbps)
    samples.append((mbps, row["timestamp"], row["cell"]))

[cell] = {cell for _, cell in corrected}
_, peak_at, peak_cell = max(samples, key=lambda sample: sample[0])
result = {
    "workday_mbps": round(fmean(workday), 3),
    "weekend_mbps": round(fmean(weekend), 3),
    "kbit_rows": {"cell": cell, "first": min(corrected)[0], "last": max(corrected)[0]},
    "peak": [peak_at, peak_cell],
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
