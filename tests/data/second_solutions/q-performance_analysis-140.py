import csv
import json
from collections import defaultdict
from datetime import datetime, timedelta
from itertools import groupby, pairwise

MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(2024, 1, 1)


def micros(text):
    return (datetime.fromisoformat(text) - EPOCH) // MICROSECOND if text else None


flows = defaultdict(list)
with open("jitter.csv", newline="") as source:
    for row in csv.DictReader(source):
        flows[row["flow"]].append((int(row["sequence"]), micros(row["send_time"]), micros(row["receive_time"])))

result = {}
for flow, packets in flows.items():
    packets.sort()
    received = sorted((packet for packet in packets if packet[2] is not None), key=lambda packet: packet[2])
    lost = [sequence for sequence, _, arrival in packets if arrival is None]

    longest = [None, 0]
    for _, group in groupby(enumerate(lost), key=lambda item: item[1] - item[0]):
        run = [sequence for _, sequence in group]
        if len(run) > longest[1]:
            longest = [run[0], len(run)]

    delays = [arrival - sent for _, sent, arrival in received]
    jitter = peak = 0.0
    for a, b in pairwise(delays):
        jitter += (abs(b - a) - jitter) / 16
        peak = max(peak, jitter)

    # Of the slowest packets, so many may come too late beside those that were lost.
    spare = len(packets) // 100 - len(lost)
    delays.sort()
    result[flow] = {
        "lost": len(lost),
        "longest_loss": longest,
        "jitter_ms": round(jitter / 1000, 3),
        "jitter_peak_ms": round(peak / 1000, 3),
        "playout_ms": round(delays[-1 - spare] / 1000, 3),
    }

with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
