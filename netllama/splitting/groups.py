"""Rows to sides, one after the other: whole groups to one side, and a row once placed never moves.

A row joins the group of the earlier rows that it is near to. The group's first row alone decides its side: a hash of
(seed, family, id) puts it somewhere in [0, 1), and each side is a range of that. What is near to rows of two sides
would make one of them move, or leak: it is dropped.

So a row's side depends on earlier rows that it is related to, and on no other: rows that are added after it, or
anywhere without being related to it, don't move it. With sizes that are counts the ranges themselves depend on how
many rows there are: then a few rows move.
"""

import hashlib
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from netllama.contamination.normalisation import template
from netllama.core.records import Instruction
from netllama.novelty.index import NoveltyIndex
from netllama.novelty.vocabulary import of_pairs
from netllama.splitting.drops import Drop

SIDES = ("train", "val", "test")
# A score that is the threshold may come out a rounding error below it (3 tokens in common of 3 and 5: 0.7499999999).
ROUNDING = 1e-6
BAR_FROM = 1000
"""Rows from which on a progress bar is worth its line."""
Limits = Mapping[str, tuple[float, float]]
"""Per family: where the ranges of test and of val end; test begins at 0, train ends at 1."""


@dataclass(frozen=True)
class Assignment:
    sides: dict[str, list[Instruction]]
    groups: dict[str, list[str]]
    """Ids by the id of the group's first row, all in the order of the rows."""
    drops: list[Drop]


_Relative = tuple[float, int]
"""ROUGE-L F1 and minus the row: of equals the earliest is the greatest."""


def comparable(row: Instruction) -> str:
    """The row as one text: what it is compared by."""
    return f"{row.instruction} {row.input} {row.output}"


def place(seed: int, family: str, row_id: str) -> float:
    """Where in [0, 1) a row stands that begins a group: 53 bits of a hash."""
    digest = hashlib.sha256(f"{seed}/{family}/{row_id}".encode()).digest()
    return (int.from_bytes(digest[:7]) >> 3) / 2**53


def quotas(total: int, counts: Mapping[str, int]) -> dict[str, int]:
    """`total` shared out in proportion to `counts`, by largest remainder (ties: by name)."""
    rows = sum(counts.values())
    if not rows:
        return dict.fromkeys(counts, 0)
    shares = {name: total * count // rows for name, count in counts.items()}
    by_remainder = sorted(counts, key=lambda name: (-(total * counts[name] % rows), name))
    for name in by_remainder[: total - sum(shares.values())]:
        shares[name] += 1
    return shares


def limits(rows: Sequence[Instruction], val: float, test: float, seed: int) -> Limits:
    """The ranges of the sides in each family. A share (float) is the length of its range; a count (int) is a quota a
    family, and its range ends after as many of the family's rows."""
    places: dict[str, list[float]] = {}
    for row in rows:
        places.setdefault(row.family, []).append(place(seed, row.family, row.id))
    for standing in places.values():
        standing.sort()
    start = dict.fromkeys(places, 0.0)
    middle = _ends(places, start, test)
    end = _ends(places, middle, val)
    return {family: (middle[family], end[family]) for family in places}


def _ends(places: Mapping[str, list[float]], starts: Mapping[str, float], size: float) -> dict[str, float]:
    """Where a range of `size` ends that begins at `starts`."""
    if isinstance(size, float):
        return {family: min(1.0, start + size) for family, start in starts.items()}
    before = {family: bisect_left(standing, starts[family]) for family, standing in places.items()}
    wanted = quotas(size, {family: len(standing) - before[family] for family, standing in places.items()})
    # Right behind the last row that is in: a range of no rows has no length, so that the next one begins with it.
    return {
        family: math.nextafter(standing[before[family] + wanted[family] - 1], 2) if wanted[family] else starts[family]
        for family, standing in places.items()
    }


def side_of(row: Instruction, ranges: Limits, seed: int) -> str:
    test, val = ranges[row.family]
    standing = place(seed, row.family, row.id)
    return "test" if standing < test else "val" if standing < val else "train"


def assign(rows: Sequence[Instruction], threshold: float, ranges: Limits, seed: int) -> Assignment:
    """Each row to a side or into the list of drops."""
    texts = [template(comparable(row)) for row in rows]
    vocabulary = of_pairs(texts)
    index, indexed = NoveltyIndex(), _Distinct()
    side: dict[int, str] = {}
    head: dict[int, int] = {}
    drops = []
    for current, row in enumerate(tqdm(rows, desc="near-duplicates", unit="row", disable=len(rows) < BAR_FROM)):
        matches = index.matches(vocabulary.query(texts[current]), threshold - ROUNDING)
        related = [(score, -indexed.rows[at]) for at, score in matches]
        closest: dict[str, _Relative] = {}
        for relative in related:
            name = side[-relative[1]]
            closest[name] = max(relative, closest.get(name, relative))
        if len(closest) > 1:
            drops.append(_between(row, rows, closest))
            continue
        side[current] = next(iter(closest), None) or side_of(row, ranges, seed)
        head[current] = current
        for first in {_first(head, -minus_row) for _, minus_row in related}:
            one, other = sorted((_first(head, current), first))
            head[other] = one
        if indexed.is_new(texts[current], current):
            index.add(row.id, vocabulary.entry(texts[current]))
    groups: dict[str, list[str]] = {}
    sides: dict[str, list[Instruction]] = {name: [] for name in SIDES}
    for current, name in side.items():
        sides[name].append(rows[current])
        groups.setdefault(rows[_first(head, current)].id, []).append(rows[current].id)
    return Assignment(sides, groups, drops)


def _between(row: Instruction, rows: Sequence[Instruction], closest: Mapping[str, _Relative]) -> Drop:
    """The drop of a row with relatives on several sides: the closest of each, the closest of all first."""
    of, told = [], []
    for side, (score, minus_row) in sorted(closest.items(), key=lambda item: item[1], reverse=True):
        of.append(rows[-minus_row].id)
        told.append(f"near to {of[-1]} in {side} ({score:.2f})")
    return Drop("two_sides", " and ".join(told), row.id, tuple(of))


class _Distinct:
    """Of rows with one text the first: 10,000 rows that differ in their numbers only are one entry of the index."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self._seen: set[bytes] = set()

    def is_new(self, text: str, row: int) -> bool:
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        if digest in self._seen:
            return False
        self._seen.add(digest)
        self.rows.append(row)
        return True


def _first(head: dict[int, int], row: int) -> int:
    """The first row of a row's group; the way there is shortened for the next time."""
    while head[row] != row:
        head[row] = row = head[head[row]]
    return row
