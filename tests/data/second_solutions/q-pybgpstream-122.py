import json
from collections import defaultdict

import pybgpstream

stream = pybgpstream.BGPStream(
    from_time="2024-03-05 08:00:00",
    until_time="2024-03-05 09:00:00",
    collectors=["rrc00", "rrc04"],
    record_types=["updates"],
)
states = defaultdict(list)
announced = defaultdict(list)
for position, elem in enumerate(stream):
    if elem.type == "S":
        session = (elem.collector, elem.peer_asn, elem.peer_address)
        states[session].append((position, elem.time, elem.fields["old-state"], elem.fields["new-state"]))
    elif elem.type == "A":
        announced[elem.peer_address].append((position, elem.time, elem.fields["prefix"]))

[(collector, asn, address)] = [
    session for session, changes in states.items() if any(old == "ESTABLISHED" for _, _, old, _ in changes)
]
changes = states[collector, asn, address]
left, left_time = next((position, time) for position, time, old, _ in changes if old == "ESTABLISHED")
back, back_time = next(
    (position, time) for position, time, _, new in changes if position > left and new == "ESTABLISHED"
)
result = {
    "collector": collector,
    "peer_asn": asn,
    "peer_address": address,
    "down_seconds": round(back_time - left_time),
    "states": [new for *_, new in changes],
    "first_minute": len(
        {prefix for position, time, prefix in announced[address] if position > back and time <= back_time + 60}
    ),
    "before": sum(position < left for position, _, _ in announced[address]),
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
