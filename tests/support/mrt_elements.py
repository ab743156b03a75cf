"""Reads MRT files with mrtparse, an independent reader, into flat lists of elements."""

import csv
import importlib
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any


def _import_mrtparse() -> Any:
    """Import mrtparse without its SIGPIPE handler, which would end all tests at the first write to a closed socket."""
    handler = signal.getsignal(signal.SIGPIPE)
    try:
        return importlib.import_module("mrtparse")
    finally:
        signal.signal(signal.SIGPIPE, handler)


mrtparse = _import_mrtparse()
UPDATE = 2
_SEGMENTS = {1: ("{", ",", "}"), 2: ("", " ", ""), 3: ("(", " ", ")"), 4: ("[", ",", "]")}


@dataclass(frozen=True)
class Element:
    """One prefix of one peer in one record, or a state change; texts as mrtparse gives them."""

    kind: str
    """R (table entry), A (announcement), W (withdrawal) or S (state change)."""
    time: float
    asn: int
    peer: str
    prefix: str = ""
    path: str = ""
    """As libbgpstream writes it: numbers separated by blanks; a set {1,2}; in a confederation (1 2) or [1,2]."""
    origin: str = ""
    next_hop: str = ""
    med: int | None = None
    communities: tuple[str, ...] = ()
    large_communities: tuple[str, ...] = ()
    atomic: bool = False
    aggregator: str = ""
    states: tuple[int, int] = (0, 0)

    @property
    def sequence(self) -> tuple[int, ...]:
        return tuple(int(asn) for asn in self.path.split() if "{" not in asn)

    @property
    def origins(self) -> tuple[int, ...]:
        return tuple(int(asn) for asn in self.path.split()[-1].strip("{}").split(","))


def read_elements(path: Path) -> list[Element]:
    """All elements in file order. AssertionError if mrtparse cannot read a record to its end."""
    peers: list[dict[str, Any]] = []
    elements = []
    for record in mrtparse.Reader(str(path)):
        data = record.data
        assert not getattr(record, "err", None), (path, record.err, record.err_msg)
        time = int(next(iter(data["timestamp"])))
        if "microsecond_timestamp" in data:
            time = time + data["microsecond_timestamp"] / 1_000_000  # type: ignore[assignment]
        if "peer_entries" in data:
            peers = data["peer_entries"]
        elif "originated_time" in data:
            who = int(data["peer_as"]), data["peer_ip"]
            prefix = f"{data['prefix']}/{data['length']}"
            elements.append(Element("R", time, *who, prefix, **_read_attributes(data["path_attributes"])))
        elif "rib_entries" in data:
            prefix = f"{data['prefix']}/{data['length']}"
            assert data["entry_count"] == len(data["rib_entries"])
            for entry in data["rib_entries"]:
                peer = peers[entry["peer_index"]]
                assert int(next(iter(entry["originated_time"]))) < time
                who = int(peer["peer_as"]), peer["peer_ip"]
                elements.append(Element("R", time, *who, prefix, **_read_attributes(entry["path_attributes"])))
        else:
            elements += _read_session_record(time, data)
    return elements


def _read_session_record(time: float, data: dict[str, Any]) -> list[Element]:
    who = int(data["peer_as"]), data["peer_ip"]
    if "old_state" in data:
        states = int(next(iter(data["old_state"]))), int(next(iter(data["new_state"])))
        return [Element("S", time, *who, states=states)]
    message = data["bgp_message"]
    assert list(message["type"]) == [UPDATE]
    gone, told = list(message["withdrawn_routes"]), list(message["nlri"])
    for attribute in message["path_attributes"]:
        code = next(iter(attribute["type"]))
        if code == 14:
            told += attribute["value"]["nlri"]
        if code == 15:
            gone += attribute["value"]["withdrawn_routes"]
    attributes = _read_attributes(message["path_attributes"])
    return [Element("W", time, *who, f"{each['prefix']}/{each['length']}") for each in gone] + [
        Element("A", time, *who, f"{each['prefix']}/{each['length']}", **attributes) for each in told
    ]


def _read_attributes(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    value = {next(iter(each["type"])): each["value"] for each in attributes if "value" in each}
    codes = {next(iter(each["type"])) for each in attributes}
    segments = []
    for segment in value.get(2, []):
        opening, separator, closing = _SEGMENTS[next(iter(segment["type"]))]
        segments.append(opening + separator.join(segment["value"]) + closing)
    reach = value.get(14, {})
    return {
        "path": " ".join(segments),
        "origin": next(iter(value[1].values())) if 1 in value else "",
        "next_hop": value.get(3) or (reach["next_hop"][0] if reach else ""),
        "med": value.get(4),
        "communities": tuple(value.get(8, ())),
        "large_communities": tuple(value.get(32, ())),
        "atomic": 6 in codes,
        "aggregator": f"{value[7]['as']} {value[7]['id']}" if 7 in value else "",
    }


@dataclass(frozen=True)
class Archive:
    """A scenario on disk, as mrtparse reads it."""

    folder: Path

    @cached_property
    def truth(self) -> dict[str, Any]:
        truth: dict[str, Any] = json.loads((self.folder / "truth.json").read_text(encoding="utf-8"))
        return truth

    @cached_property
    def index(self) -> list[list[str]]:
        with (self.folder / "index.csv").open(newline="") as file:
            return list(csv.reader(file))

    @cached_property
    def files(self) -> dict[str, list[Element]]:
        """Path -> elements, ordered as in the index: a collector's table, then its updates."""
        return {row[0]: _read_once((self.folder / row[0]).read_bytes(), self.folder / row[0]) for row in self.index}

    def list_elements(self, collector: str, kind: str) -> list[Element]:
        """The elements of a collector's ribs or updates."""
        return [each for row in self.index if (row[3], row[2]) == (collector, kind) for each in self.files[row[0]]]

    @cached_property
    def ribs(self) -> list[Element]:
        return [element for name in self.truth["collectors"] for element in self.list_elements(name, "ribs")]

    @cached_property
    def updates(self) -> list[Element]:
        """Ordered within each collector, and so within each peer."""
        return [element for name in self.truth["collectors"] for element in self.list_elements(name, "updates")]

    def list_events(self, *kinds: str) -> list[dict[str, Any]]:
        return [event for event in self.truth["events"] if event["kind"] in kinds]

    @cached_property
    def histories(self) -> dict[tuple[str, str], list[Element]]:
        """(peer, prefix) -> its table entry, if there is one, then its announcements and withdrawals."""
        histories: dict[tuple[str, str], list[Element]] = {}
        for element in self.ribs + self.updates:
            if element.kind != "S":
                histories.setdefault((element.peer, element.prefix), []).append(element)
        return histories


_READ: dict[bytes, list[Element]] = {}


def _read_once(content: bytes, path: Path) -> list[Element]:
    """The elements of a file. All scenarios of a seed have the same tables, so each content is read only once."""
    if content not in _READ:
        _READ[content] = read_elements(path)
    return _READ[content]


_networks: list[Callable[[int], Path]] = []


def find_archives_in(networks: Callable[[int], Path]) -> None:
    """Let `load_archive` read the networks that all tests share: to write 20 scenarios takes 15 s."""
    _networks[:] = [networks]


def load_archive(name: str, seed: int = 1) -> Archive:
    """A scenario, read once for all tests of a process."""
    return _load_archive(name, seed)


@cache
def _load_archive(name: str, seed: int) -> Archive:
    return Archive(_networks[0](seed) / "routing" / name)
