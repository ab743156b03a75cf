"""Sessions of RIS collectors that broke: how long they were down, and how much of the table came back in a minute."""

import json
from datetime import UTC, datetime

import pybgpstream

FROM, UNTIL = "2023-01-10 08:00:00", "2023-01-10 09:00:00"

stream = pybgpstream.BGPStream(FROM, UNTIL, project="ris", record_type="updates", filter="elemtype peerstates")
sessions = {}
for elem in stream:
    old, new = elem.fields["old-state"], elem.fields["new-state"]
    key = f"{elem.collector} {elem.peer_address}"
    session = sessions.setdefault(key, {"asn": elem.peer_asn, "down": None, "up": None, "states": []})
    session["states"].append([elem.time, old, new])
    if old == "ESTABLISHED":
        session["down"] = elem.time
    if new == "ESTABLISHED":
        session["up"] = elem.time


def format_clock(time: float) -> str:
    return datetime.fromtimestamp(time, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")


print(f"{len(sessions)} sessions changed their state")
for key, session in sessions.items():
    collector, address = key.split()
    table, again = set(), set()
    stream = pybgpstream.BGPStream(
        from_time=FROM,
        until_time=format_clock(session["up"] + 60),
        collector=collector,
        record_types=["ribs", "updates"],
        filter=f"peer {session['asn']}",
    )
    for elem in stream:
        if elem.peer_address != address or elem.type == "S":  # an AS may have several sessions
            continue
        prefix = elem.fields["prefix"]
        if elem.time > session["down"]:
            again.add(prefix)
        elif elem.type == "W":
            table.discard(prefix)
        else:
            table.add(prefix)
    session["lost"], session["announced_again"] = len(table), len(again)
    down, up = format_clock(session["down"]), format_clock(session["up"])
    print(f"{collector} AS{session['asn']} {address}: {down} to {up}, ", end="")
    print(f"lost {len(table)} prefixes, {len(again)} again within a minute")

with open("result.json", "w") as file:
    json.dump(sessions, file, indent=1)
