import csv
import json
from collections import defaultdict
from decimal import Decimal


def number(text):
    return Decimal(text.replace(",", ""))


margin, traffic = defaultdict(Decimal), defaultdict(Decimal)
areas, postcodes = set(), set()
with open("cost.csv", newline="") as source:
    for row in csv.DictReader(source):
        areas.add(row["area"])
        postcodes.add(row["postcode"])
        for key in (("area", row["area"]), ("postcode", row["postcode"])):
            margin[key] += number(row["revenue_eur"]) - number(row["cost_eur"])
            traffic[key] += number(row["traffic_gb"])

shared = defaultdict(set)
for postcode in postcodes:
    shared[int(postcode)].add(postcode)

losses = [postcode for postcode in sorted(postcodes) if margin["postcode", postcode] < 0]
result = {
    "margin_eur": {area: round(float(margin["area", area]), 2) for area in sorted(areas)},
    "loss_making": sorted(losses, key=lambda postcode: margin["postcode", postcode]),
    "twins": sorted(value for value, found in shared.items() if len(found) > 1),
    "margin_per_gb": {area: round(float(margin["area", area] / traffic["area", area]), 4) for area in sorted(areas)},
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
