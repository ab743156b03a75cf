"""Merges many dumps into one stream of records, ordered by time. A dump is opened only when it is needed.

The order is the library's: by the second of the next record; within a second, RIBs before updates, and among these the
dump first that was last to reach this second. Dumps with overlapping time spans are opened together, so that a record
from before its dump's nominal start still comes in order. Reports on dumps without records come first.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from .dump_reader import LookaheadReader, Resource
from .elements import OpenRecord


def merge_dumps(
    resources: Sequence[Resource], read_dump: Callable[[Resource], Iterator[OpenRecord]]
) -> Iterator[OpenRecord]:
    """The records of all resources. Exceptions of `read_dump` are passed on."""
    waiting = sorted(resources, key=lambda resource: resource.initial_time)
    heap: list[tuple[int, int, int, LookaheadReader]] = []
    count = 0
    while waiting or heap:
        if waiting and (not heap or waiting[0].initial_time <= heap[0][0]):
            batch = _select_overlapping(waiting)
            waiting = waiting[len(batch) :]
            readers = [(resource, LookaheadReader(read_dump(resource))) for resource in batch]
            on_time = [pair for pair in readers if pair[1].next_time == pair[0].initial_time]
            others = [pair for pair in readers if pair[1].next_time != pair[0].initial_time]
            for resource, reader in on_time + others[::-1]:
                count += 1
                heapq.heappush(heap, (reader.next_time, _rank_kind(resource), -count, reader))
            continue
        time, rank, _, reader = heap[0]
        record = reader.take()
        if record is None:
            heapq.heappop(heap)
            continue
        if reader.next_time != time:
            count += 1
            heapq.heapreplace(heap, (reader.next_time, rank, -count, reader))
        yield record


def _rank_kind(resource: Resource) -> int:
    return 0 if resource.kind == "rib" else 1


def _select_overlapping(waiting: list[Resource]) -> list[Resource]:
    """The first dumps of a list sorted by start, up to the first that begins after all before it have ended."""
    batch: list[Resource] = []
    end = None
    for time, same in groupby(waiting, key=lambda resource: resource.initial_time):
        group = list(same)
        early = max((resource.duration for resource in group if resource.kind == "rib"), default=0)
        if end is not None and end <= time - early:
            break
        end = max(end or 0, time + max(resource.duration for resource in group))
        batch += group
    return batch
