import json

import pybgpstream

COLLECTORS = ["rrc00", "rrc04", "route-views.sg", "route-views2"]

stream = pybgpstream.BGPStream(
    from_time="2024-03-05 08:00:00",
    until_time="2024-03-05 09:00:00",
    collectors=COLLECTORS,
    record_types=["ribs", "updates"],
)
totals = {name: {"R": 0, "A": 0, "W": 0} for name in COLLECTORS}
for elem in stream:
    if elem.type in ("R", "A", "W"):
        totals[elem.collector][elem.type] += 1

with open("result.json", "w") as out:
    json.dump(totals, out, indent=2)
