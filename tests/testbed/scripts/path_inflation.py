"""How much longer BGP's paths are than the shortest paths in the AS graph (per peer AS and origin)."""

import json
from collections import defaultdict, deque
from itertools import groupby, pairwise

import pybgpstream

stream = pybgpstream.BGPStream(
    from_time="2019-07-07 00:00:00",
    until_time="2019-07-07 00:05:00 UTC",
    collectors=["rrc00", "route-views.sg"],
    record_type="ribs",
    filter="ipversion 4",
)

graph = defaultdict(set)
in_bgp = {}
for rec in stream.records():
    for elem in rec:
        path = elem.fields["as-path"]
        hops = [hop for hop, _ in groupby(path.split())]
        if "{" in path or len(hops) < 2 or hops[0] != str(elem.peer_asn):
            continue
        for left, right in pairwise(hops):
            graph[left].add(right)
            graph[right].add(left)
        ends = hops[0], hops[-1]
        in_bgp[ends] = min(len(hops), in_bgp.get(ends, len(hops)))


def count_ases(source: str) -> dict[str, int]:
    length = {source: 1}
    queue = deque([source])
    while queue:
        here = queue.popleft()
        for there in graph[here]:
            if there not in length:
                length[there] = length[here] + 1
                queue.append(there)
    return length


inflation: dict[str, list[int]] = {}
for source in sorted({peer for peer, _ in in_bgp}):
    shortest = count_ases(source)
    for (peer, origin), hops_in_bgp in in_bgp.items():
        if peer == source:
            inflation[f"{peer} {origin}"] = [hops_in_bgp, shortest[origin]]

longer = {pair: lengths for pair, lengths in inflation.items() if lengths[0] > lengths[1]}
print(f"{len(inflation)} pairs, {len(longer)} ({len(longer) / len(inflation):.1%}) longer than the shortest path")
for pair, (bgp, graph_length) in sorted(longer.items(), key=lambda item: item[1][1] - item[1][0])[:10]:
    print(f"{pair:20} {bgp:3} {graph_length:3}")

edges = sorted([int(left), int(right)] for left in graph for right in graph[left] if int(left) < int(right))
with open("result.json", "w") as file:
    json.dump({"inflation": inflation, "edges": edges}, file)
