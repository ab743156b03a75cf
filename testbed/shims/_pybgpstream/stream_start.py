"""Starts a stream: finds the dumps that a script asked for, returns their records, and logs what it took."""

import atexit
import heapq
import os
import time
from collections.abc import Iterator
from typing import Any

from . import broker, interfaces, log
from .attribute_decoder import AttributeDecoder
from .dump_merge import merge_dumps
from .dump_reader import Resource, read_feed, read_resource
from .element_decoder import ElementCounts, ElementDecoder
from .elements import OpenRecord
from .filters import ElementFilter, StreamFilters


class Consumption:
    """How much a script took from one stream; logged at the end of the stream, or at exit."""

    def __init__(self) -> None:
        self.records = self.elems = 0
        self.counts = ElementCounts()
        self.written = False
        self.process = os.getpid()
        atexit.register(self.write, False)

    def write(self, complete: bool) -> None:
        if self.written or self.process != os.getpid():  # a forked process must not log its parent's counts
            return
        self.written = True
        atexit.unregister(self.write)
        counts = {"records": self.records, "elems": self.elems, "looked_at": self.counts.looked_at}
        log.write_event({"event": "consumed", "complete": complete, **counts})


class StreamRequest:
    """What a script has asked for so far, and the records once it has started the stream."""

    def __init__(self) -> None:
        self.filters = StreamFilters()
        self.interface = interfaces.BY_NAME["broker"]
        self.options: dict[str, dict[str, str]] = {}
        self.live = False
        self.records: Iterator[OpenRecord] | None = None
        self.consumed: Consumption | None = None


def start_stream(request: StreamRequest, counts: ElementCounts) -> Iterator[OpenRecord]:
    """Start a stream and return its records. If the dumps cannot be found, the first record raises InterfaceError."""
    filters = request.filters
    begin, until = filters.interval or (0, 0)
    event: dict[str, Any] = {"event": "stream", "interface": request.interface.name, "filters": filters.list_criteria()}
    event |= {"from": begin, "until": until, "live": request.live, "shift": 0, "collectors": {}}
    try:
        answer = _find_resources(request)
    except interfaces.InterfaceError as error:
        log.write_event(event)
        return _fail_when_read(error)
    log.write_event(event | {"shift": answer.shift, "collectors": answer.collectors})
    decoder = ElementDecoder(AttributeDecoder(ElementFilter(filters)), counts)

    def read_dump(resource: Resource) -> Iterator[OpenRecord]:
        return read_resource(resource, decoder, filters.interval)

    seen: dict[tuple[str, str], int] = {}
    dumps = [dump for dump in answer.dumps if interfaces.accept_rib(dump, seen, filters.rib_period)]
    records = merge_dumps(dumps, read_dump)
    if not answer.feeds:
        return records
    return heapq.merge(records, *(read_feed(feed, read_dump) for feed in answer.feeds), key=lambda record: record.time)


def _fail_when_read(error: interfaces.InterfaceError) -> Iterator[OpenRecord]:
    raise error
    yield  # makes this a generator, which raises when the first record is asked for


def _find_resources(request: StreamRequest) -> broker.BrokerAnswer:
    name, now = request.interface.name, int(log.get_now())
    options = request.options.get(name, {})
    if name == "singlefile":
        return broker.BrokerAnswer(interfaces.find_single_file_dumps(options, now), [], {}, 0)
    if name == "csvfile":
        # The clock's time, not the replay's: rows are stamped when they are written, wherever live streams begin.
        dumps = interfaces.find_csv_file_dumps(options, request.filters, int(time.time()))
        return broker.BrokerAnswer(dumps, [], {}, 0)
    settings = log.load_settings()
    if settings.archive is None:
        log.print_complaint(f"Could not open {options.get('url', interfaces.BROKER_URL)}/data for reading")
        log.print_complaint(f"this is a replay without network access, and {settings.problem}")
        raise interfaces.InterfaceError(settings.problem)
    return broker.find_dumps(settings.archive, request.filters)


def end_stream(request: StreamRequest, consumed: Consumption) -> None:
    """Log the end of a stream: its counts, and a note if it gave nothing."""
    filters, counts = request.filters, consumed.counts
    if not counts.looked_at:
        begin, until = filters.interval or (0, 0)
        window = f"[{begin}, {until or 'no end'}]"
        log.note_remark("no-data", f"{request.interface.name}: no elements for {filters.list_criteria()} in {window}")
    elif not counts.made:
        log.note_remark("nothing-matched", f"{filters.list_criteria()} matched none of {counts.looked_at} elements")
    consumed.write(True)
