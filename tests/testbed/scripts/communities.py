"""Blackholing: which prefixes had a blackhole community (RFC 7999), who announced them, who saw them, and how long."""

import json
from collections import Counter

import pybgpstream

WINDOW = {"from_time": "2022-11-15 12:00:00", "until_time": "2022-11-15 13:00:00", "record_type": "updates"}

holes = {}
for elem in pybgpstream.BGPStream(filter="community *:666 and elemtype announcements", **WINDOW):
    prefix = elem.fields["prefix"]
    length, longest = int(prefix.split("/")[1]), 128 if ":" in prefix else 32
    if length < longest:
        continue
    hole = holes.setdefault(prefix, {"start": elem.time, "peers": set(), "origins": set(), "communities": Counter()})
    hole["start"] = min(hole["start"], elem.time)  # collectors are merged to the second
    hole["peers"].add(elem.peer_address)
    hole["origins"].add(int(elem.fields["as-path"].split()[-1]))
    hole["communities"].update(elem.fields["communities"])

if holes:
    # Withdrawals have no communities, so finding the end takes a second pass.
    exact = " ".join(f"exact {prefix}" for prefix in holes)
    stream = pybgpstream.BGPStream(filter=f"elemtype withdrawals and prefix {exact}", **WINDOW)
    for elem in stream:
        hole = holes[elem.fields["prefix"]]
        hole["end"] = max(hole.get("end", 0), elem.time)

print(f"{'prefix':28} {'origin':>8} {'peers':>5} {'minutes':>7}  communities")
for prefix, hole in holes.items():
    minutes = (hole["end"] - hole["start"]) / 60 if "end" in hole else float("nan")
    origins = ",".join(map(str, hole["origins"]))
    print(f"{prefix:28} {origins:>8} {len(hole['peers']):5} {minutes:7.1f}  {' '.join(sorted(hole['communities']))}")

with open("result.json", "w") as file:
    json.dump(holes, file, indent=1, default=sorted)
