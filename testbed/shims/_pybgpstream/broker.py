"""The virtual broker: answers queries for any project, collector and time with relabelled dumps of a local archive."""

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from .dump_reader import Resource
from .filters import StreamFilters
from .interfaces import has_wanted_type, note_unknown_names, read_csv_rows

_RIS_NONE = (2, 8, 9, 17)  # closed or never opened (https://ris.ripe.net/docs/route-collectors)
RIS = frozenset(f"rrc{number:02d}" for number in range(27) if number not in _RIS_NONE)
_EXCHANGES = (
    "amsix bdix bknix chicago chile eqix flix fortaleza gixa gorex isc jinx kixp linx mwix napafrica nwax ny paix "
    "perth peru phoix rio saopaulo sfmix sg siex soxrs sydney telxatl uaeix wide"
)
ROUTE_VIEWS = frozenset(  # https://www.routeviews.org/routeviews/collectors, as the broker names them
    [f"route-views{number}" for number in range(2, 9)]
    + ["route-views2.saopaulo"]
    + [f"route-views.{place}" for place in _EXCHANGES.split()]
)
COLLECTORS = {"ris": RIS, "routeviews": ROUTE_VIEWS}


def name_router(collector: str) -> str:
    """The router that sends a collector's messages, as routeviews-stream names it: amsix, saopaulo2, rrc00."""
    number, dot, place = collector.removeprefix("route-views").partition(".")
    return place + number if dot else collector


FEEDS = {"ris-live": "ris", "routeviews-stream": "routeviews"}
"""Live project -> the project of the archive whose updates it replays."""
PROJECTS = frozenset([*COLLECTORS, *FEEDS, "caida-bmp"])


@dataclass(frozen=True)
class BrokerAnswer:
    dumps: list[Resource]
    feeds: list[list[Resource]]
    """The update files of each collector of a live project, ordered by time."""
    collectors: dict[str, str]
    """Name asked for -> name in the archive."""
    shift: int
    """Seconds to add to the archive's times."""


def find_dumps(archive: Path, filters: StreamFilters) -> BrokerAnswer:
    """Find the dumps that the filters ask for. InterfaceError if the archive's index cannot be read."""
    rows = [replace(row, path=archive / row.path) for row in read_csv_rows(archive / "index.csv")]
    own = {row.project: sorted({other.collector for other in rows if other.project == row.project}) for row in rows}
    begin, end = filters.interval or (0, 0)
    shift = _choose_shift(archive, rows, begin, filters) if rows and filters.interval else 0
    known = {name for names in own.values() for name in names} | RIS | ROUTE_VIEWS
    note_unknown_names(filters, set(own) | PROJECTS, known, {name_router(name): name for name in sorted(known)})
    asked = filters.collectors
    if filters.routers:
        asked = [name for name in asked or sorted(known) if name_router(name) in filters.routers] or [""]
    labels: dict[str, str] = {}
    dumps: list[Resource] = []
    feeds: list[list[Resource]] = []
    for project in filters.projects or own:
        source = FEEDS.get(project, project)
        for name, collector in _match_collectors(source, own.get(source, []), asked):
            labels[name] = collector
            found = [
                replace(row, project=project, collector=name, initial_time=row.initial_time + shift, shift=shift)
                for row in rows
                if row.project == source and row.collector == collector and has_wanted_type(row, filters)
            ]
            found = sorted(
                (row for row in found if not end or row.initial_time <= end), key=lambda row: row.initial_time
            )
            if project not in FEEDS and filters.resource_types != ["stream"]:
                dumps += found
            elif project in FEEDS and filters.resource_types != ["batch"]:
                router = name_router(name) if project == "routeviews-stream" else None
                feeds.append([replace(row, live=True, router=router) for row in found if row.kind == "update"])
    return BrokerAnswer(dumps, feeds, labels, shift)


_shifts: dict[Path, int] = {}
"""Archive -> the shift that the script's first stream with updates has set."""


def _choose_shift(archive: Path, rows: list[Resource], begin: int, filters: StreamFilters) -> int:
    """Seconds from the archive's times to those asked for. Consecutive windows of one script get the same shift.

    A stream with nothing but tables does not set the shift: scripts often ask for a table some minutes before the
    updates.
    """
    first, last = min(row.initial_time for row in rows), max(row.initial_time + row.duration for row in rows)
    kept = _shifts.get(archive)
    if kept is not None and first + kept <= begin < last + kept:
        return kept
    if any(row.kind == "update" and has_wanted_type(row, filters) for row in rows):
        _shifts[archive] = begin - first
    return begin - first


def _match_collectors(project: str, own: list[str], asked: list[str]) -> list[tuple[str, str]]:
    """Pairs of (name to report, name in the archive).

    A real collector that the archive lacks is replaced by one of the archive's, always the same.
    """
    if not asked or not own:
        return [(name, name) for name in own]
    found = []
    for name in dict.fromkeys(asked):
        if name in own:
            found.append((name, name))
        elif name in COLLECTORS.get(project, ()):
            found.append((name, own[zlib.crc32(name.encode()) % len(own)]))
    return found
