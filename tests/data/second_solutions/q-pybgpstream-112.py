import json
from datetime import UTC, datetime
from statistics import fmean

import pybgpstream

START = datetime(2024, 3, 5, 8, tzinfo=UTC).timestamp()

stream = pybgpstream.BGPStream(
    from_time="2024-03-05 08:00:00",
    until_time="2024-03-05 09:00:00",
    collectors=["rrc00", "rrc04", "route-views.sg", "route-views2"],
    record_types=["updates"],
    filter="prefix exact 84.205.64.0/24 and elemtype announcements",
)
delays = {}
for elem in stream:
    session = (elem.collector, elem.peer_address)
    delay = elem.time - START
    delays[session] = min(delay, delays.get(session, delay))

slowest = max(delays.values())
result = {
    "sessions": len(delays),
    "fastest": round(min(delays.values()), 3),
    "slowest": round(slowest, 3),
    "mean": round(fmean(delays.values()), 3),
    "slowest_peer": min(peer for (_, peer), delay in delays.items() if delay == slowest),
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
