import csv
import json
from datetime import datetime
from itertools import groupby, pairwise
from math import asin, cos, radians, sin, sqrt

RADIUS_KM = 6371


def read(path):
    with open(path, newline="") as source:
        return list(csv.DictReader(source))


def haversine(a, b):
    lat1, lon1, lat2, lon2 = (radians(float(row[key])) for row in (a, b) for key in ("lat", "lon"))
    half = sin((lat2 - lat1) / 2) ** 2 + cos(lat1) * cos(lat2) * sin((lon2 - lon1) / 2) ** 2
    return 2 * RADIUS_KM * asin(sqrt(half))


speeds = [float(row["speed_kmh"]) for row in read("drive_test.csv")]
stops = [len(list(run)) for standing, run in groupby(speeds, key=lambda speed: speed == 0) if standing]

gps_km = 0.0
gaps = []
for a, b in pairwise(read("gps.csv")):
    step = (datetime.fromisoformat(b["timestamp"]) - datetime.fromisoformat(a["timestamp"])).total_seconds()
    if step > 1:
        gaps.append((a["timestamp"], step))
    else:
        gps_km += haversine(a, b)
[(tunnel_from, tunnel_s)] = gaps

result = {
    "speed_km": round(sum(speeds) / 3600, 3),
    "gps_km": round(gps_km, 3),
    "standing_s": sum(stops),
    "longest_stop_s": max(stops, default=0),
    "tunnel_from": tunnel_from,
    "tunnel_s": round(tunnel_s, 1),
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
