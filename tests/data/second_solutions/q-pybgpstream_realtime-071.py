import json

import pybgpstream

BLACKHOLE = "65535:666"

active = {}
holes = {}
for elem in pybgpstream.BGPStream(project="ris-live"):
    if elem.type not in ("A", "W"):
        continue
    peer, prefix = elem.peer_address, elem.fields["prefix"]
    running = active.setdefault(prefix, {})
    if elem.type == "W":
        if peer in running:
            holes[prefix]["durations"].append(elem.time - running.pop(peer))
    elif BLACKHOLE in elem.fields["communities"]:
        hole = holes.setdefault(prefix, {"origins": set(), "peers": set(), "durations": [], "at_once": 0})
        hole["origins"].add(int(elem.fields["as-path"].split()[-1]))
        hole["peers"].add(peer)
        running.setdefault(peer, elem.time)
        hole["at_once"] = max(hole["at_once"], len(running))

result = {}
for prefix, hole in sorted(holes.items()):
    [origin] = hole["origins"]
    result[prefix] = {
        "origin": origin,
        "peers": len(hole["peers"]),
        "longest": round(max(hole["durations"])),
        "shortest": round(min(hole["durations"])),
        "at_once": hole["at_once"],
    }
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
