"""A stream that starts: what was asked for -> its records, and what is written down of it."""

import atexit
import heapq
import os
from collections.abc import Iterator
from typing import Any

from . import broker, interfaces, log
from .attribute_decoder import Decoder
from .dump_merge import merged
from .dump_reader import Resource, messages, open_resource
from .element_decoder import Bodies, Counts
from .elements import BGPRecord
from .filters import ElementFilter, Filters


class Consumed:
    """How much a script took from one stream: written at its end, or at exit."""

    def __init__(self) -> None:
        self.records = self.elems = 0
        self.counts = Counts()
        self.written = False
        self.process = os.getpid()
        atexit.register(self.write, False)

    def write(self, complete: bool) -> None:
        if self.written or self.process != os.getpid():  # a fork's copy took nothing of its own
            return
        self.written = True
        atexit.unregister(self.write)
        counts = {"records": self.records, "elems": self.elems, "looked_at": self.counts.looked_at}
        log.write({"event": "consumed", "complete": complete, **counts})


class Request:
    """What a script has asked for so far, and its records once it has started the stream."""

    def __init__(self) -> None:
        self.filters = Filters()
        self.interface = interfaces.BY_NAME["broker"]
        self.options: dict[str, dict[str, str]] = {}
        self.live = False
        self.records: Iterator[BGPRecord] | None = None
        self.consumed: Consumed | None = None


def run(request: Request, counts: Counts) -> Iterator[BGPRecord]:
    """The records of a stream that starts. What keeps the dumps from being found is raised with the first record."""
    filters = request.filters
    begin, until = filters.interval or (0, 0)
    event: dict[str, Any] = {"event": "stream", "interface": request.interface.name, "filters": filters.asked()}
    event |= {"from": begin, "until": until, "live": request.live, "shift": 0, "collectors": {}}
    try:
        answer = _resources(request)
    except interfaces.InterfaceError as error:
        log.write(event)
        return _failing(error)
    log.write(event | {"shift": answer.shift, "collectors": answer.collectors})
    bodies = Bodies(Decoder(ElementFilter(filters)), counts)

    def opened(resource: Resource) -> Iterator[BGPRecord]:
        return open_resource(resource, bodies, filters.interval)

    seen: dict[tuple[str, str], int] = {}
    dumps = [dump for dump in answer.dumps if interfaces.wanted_rib(dump, seen, filters.rib_period)]
    records = merged(dumps, opened)
    if not answer.feeds:
        return records
    return heapq.merge(records, *(messages(feed, opened) for feed in answer.feeds), key=lambda record: record.time)


def _failing(error: interfaces.InterfaceError) -> Iterator[BGPRecord]:
    raise error
    yield  # makes it a generator, which raises when a record is asked for


def _resources(request: Request) -> broker.Answer:
    name, now = request.interface.name, int(log.now())
    options = request.options.get(name, {})
    if name == "singlefile":
        return broker.Answer(interfaces.single_file(options, now), [], {}, 0)
    if name == "csvfile":
        return broker.Answer(interfaces.csv_file(options, request.filters, now), [], {}, 0)
    settings = log.settings()
    if settings.archive is None:
        log.complain(f"Could not open {options.get('url', interfaces.BROKER_URL)}/data for reading")
        log.complain(f"there is no network here but a replay, and {settings.problem}")
        raise interfaces.InterfaceError(settings.problem)
    return broker.ask(settings.archive, request.filters)


def end(request: Request, consumed: Consumed) -> None:
    """What is worth a word at the end of a stream, and the counts."""
    filters, counts = request.filters, consumed.counts
    if not counts.looked_at:
        begin, until = filters.interval or (0, 0)
        window = f"[{begin}, {until or 'no end'}]"
        log.note("no-data", f"{request.interface.name}: no elements for {filters.asked()} in {window}")
    elif not counts.made:
        log.note("nothing-matched", f"{filters.asked()} matched none of {counts.looked_at} elements")
    consumed.write(True)
