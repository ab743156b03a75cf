"""Flapping prefixes in a folder of update dumps: how often each peer's route went down or up, and the period."""

import json
import os
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from statistics import median

import pybgpstream

files = []
for folder, _, names in os.walk("mrt"):
    files += [Path(folder) / name for name in names if name.startswith("updates.")]

is_up: dict[tuple[str, str], bool] = {}
changes = defaultdict(list)
for path in sorted(files):
    stream = pybgpstream.BGPStream(data_interface="singlefile")
    stream.set_data_interface_option("singlefile", "upd-file", str(path))
    for elem in stream:
        if elem.type not in ("A", "W"):
            continue
        route = elem.peer_address, elem.fields["prefix"]
        up = elem.type == "A"
        if is_up.get(route, True) != up:
            changes[route].append((elem.time, up))
        is_up[route] = up

flapping: dict[str, dict] = {}
for (peer, prefix), times in changes.items():
    if len(times) < 10:
        continue
    downs = [time for time, up in times if not up]
    period = median(later - earlier for earlier, later in pairwise(downs))
    entry = flapping.setdefault(prefix, {"start": times[0][0], "transitions": {}, "periods": []})
    entry["start"] = min(entry["start"], times[0][0])
    entry["transitions"][peer] = len(times)
    entry["periods"].append(period)

print(f"{len(files)} files, {len(flapping)} flapping prefixes")
for prefix, entry in sorted(flapping.items()):
    transitions = sorted(entry["transitions"].values())
    entry["period"] = median(entry.pop("periods"))
    print(f"{prefix:24} {transitions[0]:3} to {transitions[-1]:3} transitions, every {entry['period']:.0f} s")

with open("result.json", "w") as file:
    json.dump(flapping, file, indent=1)
