"""Runs in the sandbox: which elements does each filter string select? Reads tasks.json, writes selected.json.

    tasks.json      [[filter string, [line of an element, ...]], ...], lines as task_networks.py formats them
    selected.json   [[number of a line, ...] or null where the string is invalid or takes too long, ...]

The strings come from a model, and an AS path expression among them may take forever: hence a clock for each.
"""

import json
import signal
from pathlib import Path
from typing import Any

from _pybgpstream.filter_language import FilterSyntaxError, parse_filter_string
from _pybgpstream.filters import ElementFilter, StreamFilters, parse_prefix

SECONDS = 2.0
"""Of the processor, for each string."""
_PROJECTS = {"rrc": "ris", "rou": "routeviews"}


def select_lines(text: str, lines: list[str]) -> list[int]:
    """FilterSyntaxError for a string that the library refuses."""
    filters = StreamFilters()
    parse_filter_string(text, filters)
    elements = ElementFilter(filters)
    return [int(line.split("|")[0]) for line in lines if _passes(filters, elements, line.split("|"))]


def _passes(filters: Any, elements: Any, parts: list[str]) -> bool:
    _, kind, collector, peer, prefix, path, communities = parts
    named = (
        (filters.collectors, collector),
        (filters.projects, _PROJECTS[collector[:3]]),
        (filters.record_types, "ribs" if kind == "R" else "updates"),
    )
    # The lines say nothing of routers and resources: a filter on them selects none.
    if any(wanted and found not in wanted for wanted, found in named) or filters.routers or filters.resource_types:
        return False
    if kind not in elements.kinds or not elements.wants_peer(int(peer)):
        return False
    if not elements.wants_prefix(*parse_prefix(prefix)):
        return False
    hops = path.split()
    pairs = tuple((int(asn), int(value)) for asn, value in (each.split(":") for each in communities.split()))
    return bool(elements.wants_route(int(hops[-1]) if hops else None, hops, pairs))


def _give_up(*_: object) -> None:
    raise TimeoutError


def main() -> None:
    signal.signal(signal.SIGVTALRM, _give_up)
    found: list[list[int] | None] = []
    for text, lines in json.loads(Path("tasks.json").read_text(encoding="utf-8")):
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        try:
            found.append(select_lines(text, lines))
        except (FilterSyntaxError, TimeoutError, OverflowError, RecursionError, MemoryError):
            found.append(None)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    Path("selected.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
