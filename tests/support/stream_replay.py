"""Writes small MRT archives, and runs the pybgpstream replay over them, in this process or in a script of its own."""

import bz2
import csv
import gzip
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from testbed.internet.bgp import AS_SEQUENCE, AS_SET, PathAttributes, encode_update, make_as_path
from testbed.internet.mrt_writer import (
    BgpSession,
    encode_message,
    encode_peer_index_table,
    encode_rib,
    encode_state_change,
)
from tests.support.clones import ROOT

SHIMS = ROOT / "testbed" / "shims"
START = 1709625600  # 2024-03-05 08:00:00 UTC
AMS = BgpSession(3333, "192.0.2.1", 12654, "192.0.2.254")
LON = BgpSession(65551, "2001:db8::1", 12654, "2001:db8::fe")
SIN = BgpSession(18106, "198.51.100.1", 6447, "198.51.100.254")

Row = tuple[str, str, str, str, int, int]
"""(path, project, type, collector, filetime, timespan)."""


def import_shim(name: str) -> Any:
    """Import a module of the replay without leaving its folder on sys.path."""
    sys.path.insert(0, str(SHIMS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(SHIMS))


def make_attributes(
    *asns: int, next_hop: str = "192.0.2.1", communities: Sequence[tuple[int, int]] = ()
) -> PathAttributes:
    return PathAttributes(make_as_path(*asns), next_hop, communities=tuple(communities))


V6 = make_attributes(65551, 64500, next_hop="2001:db8::1")
FAR = make_attributes(18106, 4637, next_hop="198.51.100.1")
AGGREGATE = PathAttributes(((AS_SEQUENCE, (3333,)), (AS_SET, (64500, 64501))), "192.0.2.1", communities=((65000, 666),))
RIB = [
    encode_peer_index_table(START, "192.0.2.254", [AMS, LON]),
    encode_rib(
        START, 0, "203.0.113.0/24", [(0, START - 500, make_attributes(3333, 1299, 64496, communities=[(1299, 100)]))]
    ),
    encode_rib(START, 1, "2001:db8:100::/40", [(1, START - 900, V6)]),
]
FIRST = [
    encode_message(START + 1, AMS, encode_update(["203.0.113.0/25", "203.0.113.128/25"], attributes=AGGREGATE)),
    encode_message(START + 2.5, LON, encode_update(["2001:db8:100::/48"], ["2001:db8:200::/48"], V6), extended=True),
    encode_state_change(START + 3, AMS, 6, 1),
]
SECOND = [encode_message(START + 300, AMS, encode_update(withdrawn=["203.0.113.0/25"]))]
SINGAPORE = [
    encode_message(
        START + 2,
        SIN,
        encode_update(["198.51.100.0/24"], attributes=make_attributes(18106, 4637, next_hop="198.51.100.1")),
    ),
    encode_message(START + 700, SIN, encode_update(withdrawn=["198.51.100.0/24"])),
]


def write_dump(path: Path, records: Sequence[bytes]) -> Path:
    """Write the records to one file, compressed according to its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = b"".join(records)
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    elif path.suffix == ".bz2":
        data = bz2.compress(data)
    path.write_bytes(data)
    return path


def write_index(folder: Path, rows: Sequence[Row]) -> Path:
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([(*row, row[4] + row[5]) for row in rows])
    return folder


def write_small_archive(folder: Path) -> Path:
    """Write an archive of two collectors, rrc00 (a RIB and two update dumps) and route-views.sg (one update dump).

    It has ten elements in all.
    """
    rows: list[Row] = [
        ("mrt/rrc00/bview.gz", "ris", "ribs", "rrc00", START, 120),
        ("mrt/rrc00/updates.0800.gz", "ris", "updates", "rrc00", START, 300),
        ("mrt/rrc00/updates.0805.gz", "ris", "updates", "rrc00", START + 300, 300),
        ("mrt/route-views.sg/updates.0800.bz2", "routeviews", "updates", "route-views.sg", START, 900),
    ]
    for row, records in zip(rows, (RIB, FIRST, SECOND, SINGAPORE), strict=True):
        write_dump(folder / row[0], records)
    return write_index(folder, rows)


def write_config(folder: Path, archive: Path | None, now: int | None = START + 10**6) -> Path:
    """Write the JSON file that configures a replay; its log is folder/log.jsonl."""
    path = folder / "replay.json"
    values = {"archive": str(archive) if archive else None, "log": str(folder / "log.jsonl"), "now": now}
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def read_events(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    path = folder / "log.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [event for event in map(json.loads, lines) if event["event"] in kinds]


def list_misuses(folder: Path) -> list[str]:
    """The kinds of misuse and notes in the log."""
    return [event["what"] for event in read_events(folder, "misuse", "note")]


def run_script(script: str, folder: Path, config: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a script as a user would: from a file, with the replay but nothing else of the project on PYTHONPATH."""
    file = folder / "script.py"
    file.write_text(script, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYBGPSTREAM_REPLAY"}
    environment["PYTHONPATH"] = str(SHIMS)
    if config is not None:
        environment["PYBGPSTREAM_REPLAY"] = str(config)
    return subprocess.run(
        [sys.executable, file], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
