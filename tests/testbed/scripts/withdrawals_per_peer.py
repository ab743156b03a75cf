"""Which peers withdraw most, and what: withdrawals in local dumps, listed in a CSV index, by peer and by prefix."""

import json
from collections import Counter

import pybgpstream

stream = pybgpstream.BGPStream(data_interface="csvfile")
stream.set_data_interface_option("csvfile", "csv-file", "index.csv")
stream.add_filter("record-type", "updates")
stream.add_filter("elemtype", "withdrawals")

per_peer, per_prefix, per_collector = Counter(), Counter(), Counter()
for elem in stream:
    assert elem.type == "W"
    per_peer[f"{elem.collector}|{elem.peer_asn}|{elem.peer_address}"] += 1
    per_prefix[elem.fields["prefix"]] += 1
    per_collector[elem.collector] += 1

print("withdrawals by peer")
for peer, count in per_peer.most_common(10):
    print(f"{count:6} {peer}")
print("by prefix")
for prefix, count in per_prefix.most_common(10):
    print(f"{count:6} {prefix}")

with open("result.json", "w") as file:
    json.dump({"peers": per_peer, "prefixes": per_prefix, "collectors": per_collector}, file, indent=1)
