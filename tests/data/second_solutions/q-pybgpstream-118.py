import json
from itertools import groupby

import pybgpstream

stream = pybgpstream.BGPStream(
    from_time="2024-03-05 08:00:00",
    until_time="2024-03-05 09:00:00",
    collectors=["rrc00", "rrc04", "route-views.sg", "route-views2"],
    record_types=["updates"],
    filter="elemtype announcements",
)
transit = {}
origin_prefixes = set()
for elem in stream:
    prefix = elem.fields["prefix"]
    hops = [int(hop) for hop in elem.fields["as-path"].split() if hop.isdigit()]
    if not hops:
        continue
    runs = [(asn, len(list(copies))) for asn, copies in groupby(hops)]
    if runs[-1][1] >= 3:
        origin_prefixes.add(prefix)
    left = None
    for asn, copies in runs:
        if copies >= 2 and asn != hops[-1]:
            row = transit.setdefault(asn, {"told": set(), "longest_run": 0, "prefixes": set()})
            if left is not None:
                row["told"].add(left)
            row["longest_run"] = max(row["longest_run"], copies)
            row["prefixes"].add(prefix)
        left = asn

rows = [
    {
        "asn": asn,
        "told": sorted(row["told"]),
        "longest_run": row["longest_run"],
        "prefixes": sorted(row["prefixes"]),
    }
    for asn, row in sorted(transit.items())
]
with open("result.json", "w") as out:
    json.dump({"transit": rows, "origin_prefixes": len(origin_prefixes)}, out, indent=2)
