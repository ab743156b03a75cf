"""Data interfaces: their names and options, and the dumps that those with local files find."""

import csv
import zlib
from dataclasses import dataclass
from pathlib import Path

from . import mrt_reader
from .dump_reader import Resource
from .filters import StreamFilters
from .log import note_misuse, print_complaint

BROKER_URL = "https://broker.bgpstream.caida.org/v2"


class InterfaceError(Exception):
    """The interface cannot be read. The library's message has already been printed to stderr."""


@dataclass(frozen=True)
class DataInterface:
    id: int
    name: str
    description: str
    options: tuple[tuple[str, str], ...]
    required: tuple[str, ...] = ()
    """At least one of these options must be set before the start."""
    refusal: str = ""
    """The library's message if none is set."""
    remote: str = ""
    """Why the interface cannot be started here; empty if it can."""


INTERFACES = (
    DataInterface(
        1,
        "broker",
        "Retrieve metadata information from the BGPStream Broker service",
        (
            ("url", f"Broker URL (default: {BROKER_URL})"),
            ("param", "Additional Broker GET parameter*"),
            ("cache-dir", "Enable local cache at provided directory."),
        ),
    ),
    DataInterface(
        2,
        "singlefile",
        "Read a single mrt data file (RIB and/or updates)",
        (
            ("rib-file", "rib mrt file to read (default: not-set)"),
            ("rib-type", "rib file type (mrt/bmp) (default: mrt)"),
            ("upd-file", "updates mrt file to read (default: not-set)"),
            ("upd-type", "update file type (mrt/bmp/ris-live) (default: mrt)"),
        ),
        ("rib-file", "upd-file"),
        "At least one of the 'rib-file' and 'upd-file' options must be set",
    ),
    DataInterface(
        3,
        "kafka",
        "Read updates in real-time from an Apache Kafka topic",
        (
            ("brokers", "comma-separated list of kafka brokers (default: 127.0.0.1:9092)"),
            ("topic", "topic to consume from"),
            ("group", "consumer group name (default: random)"),
            ("offset", "initial offset (earliest/latest) (default: latest)"),
            ("data-type", "data type (mrt/bmp/ris-live) (default: bmp)"),
            ("project", "set project name (default: unset)"),
            ("collector", "set collector name (default: unset)"),
        ),
        ("topic",),
        "The 'topic' option must be set",
        "no Kafka broker can be reached",
    ),
    DataInterface(
        4,
        "csvfile",
        "Retrieve metadata information from a csv file",
        (("csv-file", "csv file listing the mrt data to read (default: not-set)"),),
        ("csv-file",),
        "The 'csv-file' option must be set",
    ),
    DataInterface(
        5,
        "sqlite",
        "Retrieve metadata information from an SQLite database",
        (("db-file", "SQLite database file (default: not-set)"),),
        ("db-file",),
        "The 'db-file' option must be set",
        "Can't open database",
    ),
)
BY_NAME = {interface.name: interface for interface in INTERFACES}

_RIB_SPAN, _UPDATES_SPAN = 1800, 120  # seconds that the singlefile interface assumes its two dumps to cover
_EARLY = 15 * 60 + 120  # a dump may begin this many seconds before the interval


def find_refusal(interface: DataInterface, options: dict[str, str]) -> str:
    """Why the interface cannot start, in the library's words; empty if it can."""
    if interface.required and not any(option in options for option in interface.required):
        return interface.refusal
    return interface.remote


def find_single_file_dumps(options: dict[str, str], now: int) -> list[Resource]:
    """The dumps of a singlefile stream. As in the library, a missing file is reported and an empty one is skipped."""
    found = []
    for option, kind, span in (("rib-file", "rib", _RIB_SPAN), ("upd-file", "update", _UPDATES_SPAN)):
        if option not in options:
            continue
        path = options[option]
        data_type = options.get(option.replace("file", "type"), "mrt")
        if data_type in ("bmp", "ris-live"):
            print_complaint(f"Could not find format module for {path} ({data_type})")
            raise InterfaceError(path)
        try:
            with mrt_reader.open_dump(path) as file:
                empty = not file.read1(1024)
        except (OSError, EOFError, zlib.error):
            print_complaint(f"can't open file '{path}'" if not Path(path).is_file() else f"can't read file '{path}'")
            continue
        if not empty:
            found.append(Resource(Path(path), "singlefile", "singlefile", kind, now, span))
    return found


def read_csv_rows(path: Path, now: int | None = None) -> list[Resource]:
    """The rows of a CSV file as resources, with their paths as written; with `now`, only rows stamped before it.

    InterfaceError if the file cannot be read.
    """
    found = []
    number = 0
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                number += 1
                if not row:
                    continue
                name, project, kind, collector, filetime, span, stamp = row
                kind = {"ribs": "rib", "updates": "update"}[kind]
                if now is None or 0 < int(stamp) < now:
                    found.append(Resource(Path(name), project, collector, kind, int(filetime), int(span)))
    except OSError:
        print_complaint(f"can't open file {path}")
        raise InterfaceError(str(path)) from None
    except (ValueError, KeyError):
        print_complaint(
            f"CSV parsing error {path}, line {number}: 7 columns path,project,ribs|updates,collector,filetime,..."
        )
        raise InterfaceError(str(path)) from None
    return found


def find_csv_file_dumps(options: dict[str, str], filters: StreamFilters, now: int) -> list[Resource]:
    """The rows that pass the filters for project, collector, type and interval (by the start of the dump)."""
    rows = read_csv_rows(Path(options["csv-file"]), now)
    note_unknown_names(filters, {row.project for row in rows}, {row.collector for row in rows})
    return [
        row
        for row in rows
        if (not filters.projects or row.project in filters.projects)
        and (not filters.collectors or row.collector in filters.collectors)
        and has_wanted_type(row, filters)
        and _is_in_interval(row, filters)
    ]


def has_wanted_type(resource: Resource, filters: StreamFilters) -> bool:
    return not filters.record_types or f"{resource.kind}s" in filters.record_types


def accept_rib(resource: Resource, seen: dict[tuple[str, str], int], period: int) -> bool:
    """The RIB period filter: skips RIBs less than `period` seconds after the last accepted RIB of their collector."""
    if resource.kind != "rib" or not period:
        return True
    key = (resource.project, resource.collector)
    if key in seen and resource.initial_time < seen[key] + period:
        return False
    seen[key] = resource.initial_time
    return True


def note_unknown_names(
    filters: StreamFilters, projects: set[str], collectors: set[str], routers: dict[str, str] | None = None
) -> None:
    """Note unknown names as misuse: in the library they match nothing and raise nothing.

    `routers`: router -> its collector; None where the interface does not look at routers.
    """
    for name in filters.projects:
        if name not in projects:
            note_misuse("unknown-project", f"unknown project {name!r}; known are {', '.join(sorted(projects))}")
    for name in filters.collectors:
        if name not in collectors:
            hint = f" (names are lower case: {name.lower()!r})" if name.lower() in collectors else ""
            note_misuse("unknown-collector", f"unknown collector {name!r}{hint}")
    if routers is not None:
        own = {collector: router for router, collector in routers.items()}
        for name in filters.routers:
            right = own.get(name.lower(), name.lower())
            if name not in routers:
                hint = f" (did you mean {right!r}?)" if right in routers else ""
                note_misuse("unknown-router", f"unknown router {name!r}{hint}")
    for name in filters.record_types:
        if name not in ("ribs", "updates"):
            note_misuse("record-type", f"unknown record type {name!r}; use 'ribs' or 'updates'")


def _is_in_interval(resource: Resource, filters: StreamFilters) -> bool:
    if filters.interval is None:
        return True
    begin, end = filters.interval
    # Unsigned arithmetic: a begin within the first minutes of 1970 wraps around and matches nothing
    return resource.initial_time >= (begin - _EARLY) & 0xFFFFFFFF and (not end or resource.initial_time <= end)
