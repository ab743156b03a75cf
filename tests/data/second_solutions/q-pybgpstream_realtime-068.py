import json
from collections import Counter

import pybgpstream

HALF_LIFE = 900
CUTOFF = 2000

penalty = {}
withdrawals = Counter()
suppressed = set()
highest = 0.0
for elem in pybgpstream.BGPStream(project="ris-live"):
    if elem.type != "W":
        continue
    pair = (elem.peer_address, elem.fields["prefix"])
    withdrawals[pair] += 1
    value, since = penalty.get(pair, (0.0, elem.time))
    value = value * 0.5 ** ((elem.time - since) / HALF_LIFE) + 1000
    penalty[pair] = (value, elem.time)
    highest = max(highest, value)
    if value > CUTOFF:
        suppressed.add(pair)

result = {
    "suppressed": sorted({prefix for _, prefix in suppressed}),
    "pairs": len(suppressed),
    "max_penalty": round(highest),
    "mean_withdrawals": round(withdrawals.total() / len(withdrawals), 2),
}
with open("result.json", "w") as out:
    json.dump(result, out, indent=2)
