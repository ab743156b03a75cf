import json
import struct

vlans = {}
untagged = {"packets": 0, "bytes": 0}
with open("qos.pcap", "rb") as capture:
    capture.read(24)
    while header := capture.read(16):
        frame = capture.read(struct.unpack("<IIII", header)[2])
        kind, tag = struct.unpack_from("!HH", frame, 12)
        row = untagged
        if kind == 0x8100:
            row = vlans.setdefault(str(tag & 0x0FFF), {"priority": tag >> 13, "packets": 0, "bytes": 0})
            assert row["priority"] == tag >> 13
        row["packets"] += 1
        row["bytes"] += len(frame)

with open("result.json", "w") as out:
    json.dump({"vlans": vlans, "untagged": untagged}, out, indent=2)
