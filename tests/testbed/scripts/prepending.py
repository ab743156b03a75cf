"""Prepending that begins in the updates: which AS repeats itself in the path, how often, and towards whom."""

import json
from itertools import groupby, pairwise

import pybgpstream

stream = pybgpstream.BGPStream(
    from_time="2021-06-15 08:00:00",
    until_time="2021-06-15 08:59:59",
    collectors=["rrc00", "rrc04", "route-views.sg", "route-views2"],
    record_types=["ribs", "updates"],
    filter="elemtype ribs announcements",
)


def find_runs(path: str) -> set[tuple[str, str, int]]:
    """(AS, the neighbour it announced to, how many times it stands in a row), for each run of more than one."""
    runs = [(asn, len(list(run))) for asn, run in groupby(path.split())]
    return {(asn, told[0], copies) for told, (asn, copies) in pairwise(runs) if copies > 1}


in_tables, found = set(), {}
for elem in stream:
    path = elem.fields["as-path"]
    for run in find_runs(path):
        if elem.type == "R":
            in_tables.add(run)
        elif run not in in_tables:
            asn, told, copies = run
            is_origin = path.split()[-1] == asn
            key = f"{asn} {'origin' if is_origin else 'transit'} {copies}"
            entry = found.setdefault(key, {"first": elem.time, "towards": set(), "prefixes": set(), "peers": set()})
            entry["first"] = min(entry["first"], elem.time)  # collectors are merged to the second
            entry["towards"].add(int(told))
            entry["prefixes"].add(elem.fields["prefix"])
            entry["peers"].add(elem.peer_address)

print(f"{len(in_tables)} prepending links in the tables, {len(found)} kinds of new prepending")
for key, entry in found.items():
    towards = " ".join(map(str, sorted(entry["towards"])))
    print(f"AS{key}: {len(entry['prefixes'])} prefixes at {len(entry['peers'])} peers, towards {towards}")

with open("result.json", "w") as file:
    json.dump(found, file, indent=1, default=sorted)
