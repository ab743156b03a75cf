"""Reads the records of a dump file in file order, and reports on dumps without records.

Every dump ends in at most one record that is not a message. Its status is empty-source, filtered-source (everything
lies outside the interval), corrupted-record or corrupted-source (the file is cut short or damaged), or unknown (the
Python layer's name for the library's status of the first record after the interval, where reading stops).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import mrt_reader
from .attribute_decoder import MalformedMessage
from .element_decoder import PEER_INDEX_TABLE, ElementDecoder, Peer, decode_peer_table
from .elements import PEER_STATES, BGPElem, OpenRecord, make_record, make_state_elem
from .log import print_complaint


@dataclass(frozen=True)
class Resource:
    """A dump, and how its records are labelled. Times are as the script sees them."""

    path: Path
    project: str
    collector: str
    kind: str
    """rib or update"""
    initial_time: int
    duration: int
    shift: int = 0
    """Seconds to add to the times in the file."""
    router: str | None = None
    live: bool = False
    """A message stream: its records have no positions and no dump time, and none of them report on files."""


class DumpOpenError(Exception):
    """A dump cannot be opened. The library then gives up the whole stream."""


class LookaheadReader:
    """Reads one record ahead, so that a dump's last record is known to be the last when it is returned."""

    def __init__(self, records: Iterator[OpenRecord]) -> None:
        self._records = records
        self.next_time = 0
        self._ahead: OpenRecord | None = None
        self.take()

    def take(self) -> OpenRecord | None:
        """The next record; None at the end."""
        record = self._ahead
        ahead = self._ahead = next(self._records, None)
        if ahead is not None and ahead.status == "valid":
            self.next_time = ahead._seconds
        return record


def read_resource(
    resource: Resource, decoder: ElementDecoder, interval: tuple[int, int] | None
) -> Iterator[OpenRecord]:
    """The records of a resource. If the file cannot be opened, DumpOpenError at once."""
    try:
        file = mrt_reader.open_dump(resource.path)
    except OSError:
        print_complaint(f"Could not open ({resource.path}). Attempt 1 of 1", "WARNING")
        print_complaint(f"Could not open dumpfile ({resource.path}) after 1 attempts. Giving up.")
        raise DumpOpenError(str(resource.path)) from None
    return _read_records(file, resource, decoder, interval)


def _read_records(
    file: mrt_reader.DumpFile, resource: Resource, decoder: ElementDecoder, interval: tuple[int, int] | None
) -> Iterator[OpenRecord]:
    begin, end = interval or (0, 0)
    shift, live = resource.shift, resource.live
    read = valid = skipped = 0
    last: OpenRecord | None = None
    elems_of = _FileDecoder(decoder, shift)
    with file:
        try:
            for seconds, microseconds, kind, subtype, body in mrt_reader.read_records(file):
                if kind == mrt_reader.TABLE_DUMP_V2 and subtype == PEER_INDEX_TABLE:
                    elems_of.peers = decode_peer_table(body)
                    continue
                seconds += shift
                if end and seconds > end:
                    yield _make_record(resource, "unknown", "middle" if read else "start", seconds, microseconds)
                    return
                read += 1
                if seconds < begin:
                    skipped += 1
                    continue
                try:
                    elems = elems_of(kind, subtype, body)
                except MalformedMessage as problem:
                    print_complaint(f"Failed to parse message from '{resource.path}' ({problem})")
                    yield _make_record(resource, "corrupted-record", "middle" if read > 1 else "start")
                    continue
                valid, skipped = valid + 1, 0
                position = "start" if live or (valid == 1 and read == 1) else "middle"
                last = _make_record(resource, "valid", position, seconds, microseconds)
                last._elems = iter(elems)
                yield last
        except MalformedMessage as problem:
            print_complaint(f"Failed to process Peer Index Table ({problem})")
            yield _make_record(resource, "corrupted-source", "start")
            return
        except mrt_reader.DumpError as problem:
            print_complaint(f"{problem} ('{resource.path}')", problem.level)
            yield _make_record(resource, problem.status, "middle" if read else "start")
            return
    if not read:
        yield _make_record(resource, "empty-source", "end", resource.initial_time)
    elif skipped == read:
        yield _make_record(resource, "filtered-source", "end", resource.initial_time)
    elif last is not None and not skipped and not live:
        last.dump_position = "end"


class _FileDecoder:
    """Decodes record bodies into elements, with the file's peer table."""

    def __init__(self, decoder: ElementDecoder, shift: int) -> None:
        self.decoder, self.shift = decoder, shift
        self.peers: list[Peer] | None = None

    def __call__(self, kind: int, subtype: int, body: bytes) -> list[BGPElem]:
        if kind == mrt_reader.BGP4MP:
            elems = self.decoder.decode_bgp4mp(subtype, body)
        elif kind == mrt_reader.TABLE_DUMP_V2:
            elems = self.decoder.decode_rib(subtype, body, self.peers, self.shift)
        elif kind == mrt_reader.TABLE_DUMP:
            elems = self.decoder.decode_table_dump(subtype, body, self.shift)
        else:
            print_complaint(f"Skipping unknown MRT record type {kind}", "WARNING")
            elems = []
        self.decoder.counts.made += len(elems)
        return elems


def _make_record(resource: Resource, status: str, position: str, seconds: int = 0, microseconds: int = 0) -> OpenRecord:
    record = make_record()
    record.project, record.collector, record.type = resource.project, resource.collector, resource.kind
    record.router = resource.router
    record.dump_time = 0 if resource.live else resource.initial_time
    record.time = seconds + microseconds / 1_000_000 if microseconds else float(seconds)
    record._seconds = seconds
    record.status, record.dump_position = status, position
    record._elems = iter(())
    return record


def read_feed(resources: list[Resource], read_dump: Callable[[Resource], Iterator[OpenRecord]]) -> Iterator[OpenRecord]:
    """The files of one collector one after the other, as its live feed: only messages."""
    for resource in resources:
        for record in read_dump(resource):
            if record.status == "unknown":
                return
            if record.status == "valid":
                record._elems = iter([_simplify_state(elem) for elem in record._elems])
                yield record


def _simplify_state(elem: BGPElem) -> BGPElem:
    """A live feed has only the new state: down (IDLE), connected (CONNECT) or up (ESTABLISHED)."""
    if elem._states is not None:
        new = elem._states[1]
        known = new if new in ("IDLE", "ESTABLISHED") else PEER_STATES[2]
        return make_state_elem((elem.peer_asn, elem.peer_address), "", known)
    return elem
