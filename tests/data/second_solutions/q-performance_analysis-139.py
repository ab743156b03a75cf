import csv
import json
from collections import Counter, defaultdict
from datetime import datetime, timedelta

START = datetime(2024, 3, 5, 8)
SPAN = timedelta(seconds=7200)

sessions = []
running = {}
with open("sessions.csv", newline="") as source:
    rows = sorted(csv.DictReader(source), key=lambda row: row["timestamp"])
for row in rows:
    key = (row["ue"], row["pdu_session_id"])
    if row["event"] == "PDU-SESSION-ESTABLISHED":
        running[key] = row
    elif row["event"] == "PDU-SESSION-RELEASED":
        opened = running.pop(key)
        sessions.append((opened["dnn"], opened["cell"], opened["timestamp"], row["timestamp"]))
assert not running

changes = defaultdict(list)
seconds = defaultdict(Counter)
active = Counter()
for dnn, cell, begin, end in sessions:
    changes[dnn] += [(begin, 1), (end, -1)]
    first, last = datetime.fromisoformat(begin), datetime.fromisoformat(end)
    seconds[dnn][cell] += (last - first) / timedelta(seconds=1)
    active[dnn] += (min(last, START + SPAN) - max(first, START)) / timedelta(seconds=1)

result = {}
for dnn, steps in changes.items():
    count, peak, peak_at = 0, 0, None
    # At equal timestamps -1 sorts before +1.
    for when, step in sorted(steps):
        count += step
        if count > peak:
            peak, peak_at = count, when
    result[dnn] = {
        "peak": peak,
        "peak_at": peak_at,
        "mean": round(active[dnn] / SPAN.total_seconds(), 3),
        "busiest_cell": max(sorted(seconds[dnn]), key=lambda cell: seconds[dnn][cell]),
    }
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
