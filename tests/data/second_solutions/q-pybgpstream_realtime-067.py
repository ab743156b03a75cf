import json

import pybgpstream

elements = []
for elem in pybgpstream.BGPStream(project="ris-live"):
    session = (elem.collector, elem.peer_asn, elem.peer_address)
    if elem.type == "S":
        elements.append((session, elem.type, elem.time, elem.fields["new-state"]))
    elif elem.type in ("A", "W"):
        elements.append((session, elem.type, elem.time, elem.fields["prefix"]))

idle, back = {}, {}
for position, (session, kind, _, value) in enumerate(elements):
    if kind == "S" and value == "IDLE":
        idle.setdefault(session, position)
    elif kind == "S" and value == "ESTABLISHED" and session in idle:
        back.setdefault(session, position)

[(session, end)] = back.items()
begin = idle[session]
idle_time, back_time = elements[begin][2], elements[end][2]

before = [time for who, kind, time, _ in elements[:begin] if who == session and kind != "S"]
after = [(kind, time, value) for who, kind, time, value in elements[end:] if who == session and kind != "S"]
collector, asn, address = session
result = {
    "collector": collector,
    "peer_asn": asn,
    "peer_address": address,
    "down_seconds": round(back_time - idle_time),
    "first_minute": len({prefix for kind, time, prefix in after if kind == "A" and time <= back_time + 60}),
    "silence_seconds": round(after[0][1] - before[-1]),
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
