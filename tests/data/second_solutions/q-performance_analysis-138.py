import csv
import json
from collections import defaultdict
from datetime import datetime, timedelta
from statistics import median

PERIOD = timedelta(minutes=15)
SHORTEST = 4

volumes = defaultdict(dict)
states = defaultdict(dict)
with open("kpi.csv", newline="") as source:
    for row in csv.DictReader(source):
        when = datetime.fromisoformat(row["timestamp"])
        volume, availability = float(row["dl_volume_mb"]), float(row["availability_pct"])
        volumes[row["cell"]][when] = volume
        kind = {100: "sleeping", 0: "outage"}.get(availability)
        states[row["cell"]][when] = kind if volume == 0 else None


def usual(cell, when):
    return median(
        volume
        for other, volume in volumes[cell].items()
        if other.time() == when.time() and other.date() != when.date() and (other.weekday() < 5) == (when.weekday() < 5)
    )


runs = []
for cell, timeline in states.items():
    previous = None
    for when in sorted(timeline):
        kind = timeline[when]
        if kind is not None:
            if previous == (kind, when - PERIOD):
                runs[-1][2].append(when)
            else:
                runs.append((kind, cell, [when]))
        previous = (kind, when)

result = {"sleeping": [], "outage": []}
for kind, cell, times in sorted(runs, key=lambda run: (run[2][0], run[1])):
    if len(times) >= SHORTEST:
        result[kind].append(
            {
                "cell": cell,
                "start": str(times[0]),
                "end": str(times[-1]),
                "lost_mb": round(sum(usual(cell, when) for when in times), 2),
            }
        )
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
