"""Sub-prefix hijacks: parts of the watched blocks that appear after the table dump, with a wrong origin.

watch.json: {"198.51.100.0/22": 64500, "2001:db8::/32": 64501}
"""

import json
from ipaddress import ip_network

import pybgpstream

with open("watch.json") as file:
    blocks = json.load(file)

stream = pybgpstream.BGPStream(data_interface="csvfile")
stream.set_data_interface_option("csvfile", "csv-file", "index.csv")
for block in blocks:
    stream.add_filter("prefix-more", block)


def find_owners(prefix: str) -> set[int]:
    """The owners of the watched blocks that cover the prefix."""
    network = ip_network(prefix)
    above = {str(network.supernet(new_prefix=length)) for length in range(network.prefixlen)} | {prefix}
    return {owner for block, owner in blocks.items() if block in above}


known, alarms = set(), {}
for rec in stream.records():
    if rec.status != "valid":
        continue
    for elem in rec:
        prefix = elem.fields["prefix"]
        if elem.type == "R":
            known.add(prefix)
        elif elem.type == "A" and prefix not in known:
            origin = int(elem.fields["as-path"].split()[-1])
            if origin in find_owners(prefix):
                continue
            alarm = alarms.setdefault(prefix, {"origin": origin, "first_seen": {}, "last_withdrawal": 0})
            alarm["first_seen"].setdefault(elem.peer_address, rec.time)
        elif elem.type == "W" and prefix in alarms:
            alarm = alarms[prefix]
            alarm["last_withdrawal"] = max(alarm["last_withdrawal"], rec.time)

print(f"{len(known)} prefixes of the blocks in the tables, {len(alarms)} alarms")
for prefix, alarm in alarms.items():
    first = min(alarm["first_seen"].values())
    print(f"{prefix:28} AS{alarm['origin']} since {first}, {len(alarm['first_seen'])} peers")

with open("result.json", "w") as file:
    json.dump(alarms, file, indent=1)
