import json
from collections import Counter

import pybgpstream

stream = pybgpstream.BGPStream(data_interface="singlefile")
stream.set_data_interface_option("singlefile", "rib-file", "mrt/route-views2/2024.03/rib.20240305.0800.bz2")

prefixes = set()
hops = routes = 0
for elem in stream:
    if elem.type != "R":
        continue
    prefixes.add(elem.fields["prefix"])
    hops += len(elem.fields["as-path"].split())
    routes += 1

lengths = {"ipv4": Counter(), "ipv6": Counter()}
for prefix in prefixes:
    lengths["ipv6" if ":" in prefix else "ipv4"][prefix.split("/")[1]] += 1

with open("result.json", "w") as out:
    json.dump({**lengths, "mean_path": round(hops / routes, 3)}, out, indent=2)
