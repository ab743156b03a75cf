import csv
import json
from collections import defaultdict

with open("kpi.csv", newline="") as source:
    rows = list({tuple(row.items()): row for row in csv.DictReader(source)}.values())

volume, energy = defaultdict(float), defaultdict(float)
for row in rows:
    for key in (row["site"], row["cell"]):
        volume[key] += float(row["dl_volume_mb"])
        energy[key] += float(row["energy_kwh"])

sites = sorted({row["site"] for row in rows})
cells = sorted({row["cell"] for row in rows})
result = {
    "mb_per_kwh": {site: round(volume[site] / energy[site], 2) for site in sites},
    "energy_kwh": {site: round(energy[site], 3) for site in sites},
    "lowest_cell": min(cells, key=lambda cell: volume[cell] / energy[cell]),
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
