"""Rows to sides, one after the other: near-duplicates stay together, and a row never moves once it is placed.

A row joins the group of the earlier rows that it is near to. The group's first row alone decides its side: a hash of
(seed, family, id) puts it somewhere in [0, 1), and each side is a range of that. A row that is near to rows on two
sides would leak on either of them, so it is dropped.

The side of a row depends on the earlier rows that it is related to, and on no others: rows that are added after it, or
anywhere without being related to it, don't move it. With sizes that are counts the ranges themselves depend on how
many rows there are: then a few rows move.
"""

import hashlib
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from netllama.contamination.common_text import CommonText
from netllama.core.progress_bar import track_rows
from netllama.core.records import Instruction
from netllama.splitting.drops import Drop
from netllama.splitting.neighbours import Neighbours
from netllama.splitting.passages import PassageIndex
from netllama.splitting.pool_rows import PoolRow

SIDES = ("train", "val", "test")


class Ranges(NamedTuple):
    """The ranges of one family: test from 0 to `test_end`, val from there to `val_end`, train from there to 1."""

    test_end: float
    val_end: float


@dataclass(frozen=True)
class Assignment:
    """Where the rows went."""

    sides: dict[str, list[Instruction]]
    groups: dict[str, list[str]]
    """Ids by the id of the group's first row, all in the order of the rows."""
    drops: list[Drop]


class _Relative(NamedTuple):
    """An earlier row that a row is near to. Of two relatives the greater one is closer, or as close and earlier."""

    score: float
    """ROUGE-L F1, or the share of a passage."""
    minus_row: int

    @property
    def row(self) -> int:
        return -self.minus_row


def draw_place(seed: int, row: Instruction) -> float:
    """Where in [0, 1) a row stands that begins a group: 53 bits of a hash."""
    digest = hashlib.sha256(f"{seed}/{row.family}/{row.id}".encode()).digest()
    return (int.from_bytes(digest[:7]) >> 3) / 2**53


def share_out(total: int, counts: Mapping[str, int]) -> dict[str, int]:
    """`total` in proportion to `counts`, by largest remainder (ties: by name)."""
    rows = sum(counts.values())
    if not rows:
        return dict.fromkeys(counts, 0)
    shares = {name: total * count // rows for name, count in counts.items()}
    by_remainder = sorted(counts, key=lambda name: (-(total * counts[name] % rows), name))
    for name in by_remainder[: total - sum(shares.values())]:
        shares[name] += 1
    return shares


def set_ranges(rows: Sequence[Instruction], val: float, test: float, seed: int) -> dict[str, Ranges]:
    """The ranges of each family. A share (float) is the length of a range; a count (int) is shared out among the
    families, and the range ends after that many of the family's rows."""
    places: dict[str, list[float]] = {}
    for row in rows:
        places.setdefault(row.family, []).append(draw_place(seed, row))
    for standing in places.values():
        standing.sort()
    test_ends = _find_ends(places, dict.fromkeys(places, 0.0), test)
    val_ends = _find_ends(places, test_ends, val)
    return {family: Ranges(test_ends[family], val_ends[family]) for family in places}


def _find_ends(places: Mapping[str, list[float]], starts: Mapping[str, float], size: float) -> dict[str, float]:
    """Where a range of `size` ends that begins at `starts`, by family."""
    if isinstance(size, float):
        return {family: min(1.0, start + size) for family, start in starts.items()}
    before = {family: bisect_left(standing, starts[family]) for family, standing in places.items()}
    wanted = share_out(size, {family: len(standing) - before[family] for family, standing in places.items()})
    # Right behind the last row that is in: a range of no rows has no length, so that the next one begins with it.
    return {
        family: math.nextafter(standing[before[family] + wanted[family] - 1], 2) if wanted[family] else starts[family]
        for family, standing in places.items()
    }


def choose_side(row: Instruction, ranges: Mapping[str, Ranges], seed: int) -> str:
    """The side in whose range the row stands."""
    own, standing = ranges[row.family], draw_place(seed, row)
    return "test" if standing < own.test_end else "val" if standing < own.val_end else "train"


def assign_sides(
    rows: Sequence[PoolRow], common: CommonText, neighbours: Neighbours, ranges: Mapping[str, Ranges], seed: int
) -> Assignment:
    """Each row to a side or into the list of drops. Two rows are near if they are `neighbours` or share a passage,
    without what is `common` to many."""
    passages = PassageIndex()
    side: dict[int, str] = {}
    head: dict[int, int] = {}
    drops = []
    own = common.list_runs([row.task for row in rows])
    for current, (row, runs) in enumerate(zip(track_rows(rows, "near-duplicates"), own, strict=True)):
        relatives = [_Relative(score, -earlier) for earlier, score in neighbours.find_matches(current)]
        relatives += [_Relative(share, -earlier) for earlier, share in passages.find_matches(runs)]
        closest: dict[str, _Relative] = {}
        for relative in relatives:
            name = side[relative.row]
            closest[name] = max(relative, closest.get(name, relative))
        if len(closest) > 1:
            drops.append(_drop_between(row, rows, closest))
            continue
        side[current] = next(iter(closest), None) or choose_side(row.task, ranges, seed)
        head[current] = current
        for first in {_find_first(head, relative.row) for relative in relatives}:
            earlier, later = sorted((_find_first(head, current), first))
            head[later] = earlier
        neighbours.add(current)
        passages.add(current, runs)
    groups: dict[str, list[str]] = {}
    sides: dict[str, list[Instruction]] = {name: [] for name in SIDES}
    for current, name in side.items():
        task = rows[current].task
        sides[name].append(task)
        groups.setdefault(rows[_find_first(head, current)].task.id, []).append(task.id)
    return Assignment(sides, groups, drops)


def _drop_between(row: PoolRow, rows: Sequence[PoolRow], closest: Mapping[str, _Relative]) -> Drop:
    """The drop of a row with relatives on several sides: names the closest of each, the closest of all first."""
    listed = sorted(closest.items(), key=lambda item: item[1], reverse=True)
    ids = [rows[relative.row].task.id for _, relative in listed]
    told = [f"near to {name} in {side} ({found.score:.2f})" for name, (side, found) in zip(ids, listed, strict=True)]
    return Drop("two_sides", " and ".join(told), row.task.id, tuple(ids), row.origin)


def _find_first(head: dict[int, int], row: int) -> int:
    """The first row of a row's group; the way there is shortened for the next time."""
    while head[row] != row:
        head[row] = row = head[head[row]]
    return row
