"""Writes a routing scenario as a folder of MRT files like those of RIPE RIS and RouteViews, an index and ground truth.

    index.csv                                           path,project,type,collector,filetime,timespan,timestamp
    mrt/rrc00/2024.03/bview.20240305.0800.gz            RIS: the table, then updates every five minutes
    mrt/route-views2/2024.03/rib.20240305.0800.bz2      RouteViews: the table, then updates every fifteen minutes
    truth.json                                          what is in the files

The index has the format of libbgpstream's csvfile data interface, without a header; its paths are relative to its
folder.

truth.json: Times are Unix seconds as the files hold them: whole at RIS, with microseconds at RouteViews. Peers are
named by their addresses, which are unique. A spell starts with the element after which a peer's route to a prefix shows
an event, and ends with the element after which it no longer does. Outages and flaps show in the absence of a route,
blackholing in the presence of one. What the tables already show does not start a spell; a broken session neither
starts nor ends one.

    scenario, seed, start, end
    collectors   {name: {project, peers: [{asn, address, ip_version, full_feed}]}}, in the order of the peer index table
    counts       {name or "total": {ribs, announcements, withdrawals, peerstates}}: numbers of elements, one per prefix
    relationships   [[provider, customer, "p2c"] or [AS, AS, "p2p"]]
    origins      {prefix: [AS, ...]} in the tables; if a path ends in an AS_SET, its members
    moas         [prefix] with several origins in the tables, except through AS_SETs
    as_sets      [prefix] with a path in the tables that ends in an AS_SET
    beacons      [prefix] that goes up and down by schedule, in every scenario
    events       [{kind, start, end, peers_affected, ...}]: start of the first spell; end of the last spell, or null if
                 a spell lasts to the end; addresses of the peers that had a spell. By kind, also:
      prefix_hijack      prefix, ip_version, victim, attacker, first_seen {address: time}; it shows in the origin
      subprefix_hijack   the same, and covering_prefix
      moas               prefix, ip_version, origins, new_origin, first_seen
      route_leak         leaker, leaked_to, leaked_from [AS]; the leaked prefixes; mean_path_length_before and
                         mean_path_length_leaked: of the replaced routes and of the routes that replaced them. It shows
                         in a path with leaked_to, leaker and one of leaked_from in a row
      prepending         asn, role (origin or transit), towards (a neighbour; null: all), extra (copies beside the
                         first), prefixes, copies_seen [n] (the AS's longest runs in the paths that start a spell).
                         It shows in a run of at least extra + 1 copies, directly after `towards`
      flapping           origin, prefixes, period, transitions {address: {prefix: n}}: how often the prefix changed
                         between announced and withdrawn in the whole hour
      blackholing        prefix, victim, providers, communities ["AS:value"] (BLACKHOLE and the providers' own)
      outage             asn, prefixes, lost {address: [prefix]}
      peer_down          peer, peer_asn, collector, states [[time, old, new]], lost (size of the table when the session
                         broke), announced_again (prefixes announced within a minute of the new session). Start and
                         end are the times of the first and the last state change
"""

import bz2
import csv
import io
import random
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from netllama.core.files import write_json, write_text
from testbed.internet.bgp import AS_SET, encode_update
from testbed.internet.changes import END, START
from testbed.internet.collectors import COLLECTORS, Collector
from testbed.internet.mrt_writer import encode_message, encode_peer_index_table, encode_rib, encode_state_change
from testbed.internet.prefixes import make_sort_key
from testbed.internet.scenarios import Recording, simulate_hour
from testbed.internet.simulation import RecordedMessage, World, build_world
from testbed.internet.truth import get_origins

RIB_TIMESPAN = 120
_MONTH, _DAY = "2024.03", "20240305"  # of START
_STORED = 0xFFFF  # octets of a stored block
_LOOKS_OLD = 30 * 86400  # the routes of a dump were received at most so many seconds before it


def write_archive(name: str, seed: int, folder: Path) -> None:
    """Write the scenario `name` into `folder`, which must be empty. StageError for an unknown name."""
    recording = simulate_hour(name, seed)
    index = []
    for collector in COLLECTORS:
        for path, kind, filetime, timespan, data in _encode_files(recording, collector):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            index.append((path, collector.project, kind, collector.name, filetime, timespan, filetime + timespan))
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(index)
    write_text(folder / "index.csv", buffer.getvalue())
    write_json(folder / "truth.json", _collect_truth(name, recording))


def _encode_files(recording: Recording, collector: Collector) -> Iterator[tuple[str, str, int, int, bytes]]:
    """A collector's files: (path, ribs or updates, first second, seconds covered, content)."""
    rib_name, ending, span = ("bview", "gz", 300) if collector.is_ris else ("rib", "bz2", 900)
    place = f"mrt/{collector.name}/{_MONTH}"
    table = _encode_rib_dump(recording.world.seed, collector)
    yield f"{place}/{rib_name}.{_DAY}.0800.{ending}", "ribs", START, RIB_TIMESPAN, table
    records: dict[int, list[bytes]] = {slot: [] for slot in range(START, END, span)}
    for message in _select_messages(recording, collector):
        records[int(message.time) // span * span].append(_encode_message(recording.world, message))
    for slot, parts in records.items():
        path = f"{place}/updates.{_DAY}.{_format_clock(slot)}.{ending}"
        yield path, "updates", slot, span, _compress(b"".join(parts), collector)


def _select_messages(recording: Recording, collector: Collector) -> list[RecordedMessage]:
    feeds = recording.world.feeds
    return [message for message in recording.messages if feeds[message.feed].collector == collector]


def _encode_message(start: World, message: RecordedMessage) -> bytes:
    feed = start.feeds[message.feed]
    extended = not feed.collector.is_ris
    if message.states:
        return encode_state_change(message.time, feed.session, *message.states, extended=extended)
    octets = encode_update(message.announced, message.withdrawn, message.attributes)
    return encode_message(message.time, feed.session, octets, extended)


@lru_cache(maxsize=8)
def _encode_rib_dump(seed: int, collector: Collector) -> bytes:
    """A collector's RIB dump. All scenarios of a seed begin with the same tables, so each is encoded only once."""
    start, rng = build_world(seed), random.Random(f"rib-{seed}-{collector.name}")
    members = [index for index, feed in enumerate(start.feeds) if feed.collector == collector]
    parts = [encode_peer_index_table(START, collector.address, [start.feeds[index].session for index in members])]
    prefixes = sorted({prefix for index in members for prefix in start.tables[index]}, key=make_sort_key)
    for number, prefix in enumerate(prefixes):
        entries = [
            (place, START - rng.randrange(3600, _LOOKS_OLD), start.tables[index][prefix])
            for place, index in enumerate(members)
            if prefix in start.tables[index]
        ]
        parts.append(encode_rib(START, number, prefix, entries))
    return _compress(b"".join(parts), collector)


def _compress(data: bytes, collector: Collector) -> bytes:
    return _compress_gzip(data) if collector.is_ris else bz2.compress(data)


def _compress_gzip(data: bytes) -> bytes:
    """A gzip file (RFC 1952) of stored blocks (RFC 1951 section 3.2.4), without time and name.

    Compressed bytes would depend on the machine: Python's zlib uses zlib or zlib-ng, whose outputs differ.
    """
    blocks = [data[at : at + _STORED] for at in range(0, len(data), _STORED)] or [b""]
    parts = [b"\x1f\x8b\x08\0\0\0\0\0\0\xff"]
    for number, block in enumerate(blocks, 1):
        parts.append(struct.pack("<BHH", number == len(blocks), len(block), len(block) ^ 0xFFFF) + block)
    parts.append(struct.pack("<II", zlib.crc32(data), len(data) % 2**32))
    return b"".join(parts)


def _format_clock(time: int) -> str:
    minutes = time % 86400 // 60
    return f"{minutes // 60:02}{minutes % 60:02}"


def _collect_truth(name: str, recording: Recording) -> dict[str, Any]:
    start = recording.world
    origins: dict[str, set[int]] = {}
    as_sets = set()
    for table in start.tables:
        for prefix, attributes in table.items():
            origins.setdefault(prefix, set()).update(get_origins(attributes))
            if attributes.as_path[-1][0] == AS_SET:
                as_sets.add(prefix)
    return {
        "scenario": name,
        "seed": start.seed,
        "start": START,
        "end": END,
        "collectors": {collector.name: _describe_peers(start, collector) for collector in COLLECTORS},
        "counts": _count_elements(recording),
        "relationships": start.topology.list_relationships(),
        "origins": {prefix: sorted(ases) for prefix, ases in origins.items()},
        "moas": sorted(
            (prefix for prefix, ases in origins.items() if len(ases) > 1 and prefix not in as_sets), key=make_sort_key
        ),
        "as_sets": sorted(as_sets, key=make_sort_key),
        "beacons": start.beacons,
        "events": recording.events,
    }


def _describe_peers(start: World, collector: Collector) -> dict[str, Any]:
    peers = [
        {"asn": feed.asn, "address": feed.address, "ip_version": feed.ip_version, "full_feed": feed.full}
        for feed in start.feeds
        if feed.collector == collector
    ]
    return {"project": collector.project, "peers": peers}


def _count_elements(recording: Recording) -> dict[str, dict[str, int]]:
    counts = {}
    for collector in COLLECTORS:
        messages = _select_messages(recording, collector)
        tables = zip(recording.world.feeds, recording.world.tables, strict=True)
        counts[collector.name] = {
            "ribs": sum(len(table) for feed, table in tables if feed.collector == collector),
            "announcements": sum(len(message.announced) for message in messages),
            "withdrawals": sum(len(message.withdrawn) for message in messages),
            "peerstates": sum(message.states is not None for message in messages),
        }
    total = Counter[str]()
    for each in counts.values():
        total.update(each)
    return counts | {"total": dict(total)}
