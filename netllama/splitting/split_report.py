"""What a split came to: its metrics, and the lines that the stage prints."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from netllama.contamination.leakage_report import LeakedText, SideLeakage
from netllama.splitting.drops import Drop
from netllama.splitting.extra import Reading
from netllama.splitting.groups import SIDES, Assignment
from netllama.splitting.pool_rows import PoolRow

SHOWN = 5
"""How many rows of a list are printed; the file holds all of them."""


def summarise_split(
    found: Assignment,
    drops: Sequence[Drop],
    seeds: Sequence[LeakedText],
    leakage: Mapping[str, SideLeakage],
    readings: Sequence[Reading],
) -> dict[str, object]:
    """What metrics/split.json holds; `extra` only where there are files of one's own."""
    extra = {"extra": {Path(reading.file).name: reading.count() for reading in readings}} if readings else {}
    return extra | {
        "rows": {name: len(rows) for name, rows in found.sides.items()},
        "family": {name: dict(Counter(row.family for row in rows)) for name, rows in found.sides.items()},
        "source": {name: dict(Counter(row.source for row in rows)) for name, rows in found.sides.items()},
        "dropped": dict(Counter(drop.reason for drop in drops)),
        "near_duplicates": _count_near_duplicates(found),
        "seeds_near_questions": len(seeds),
        "leakage": {name: asdict(numbers) for name, numbers in leakage.items()},
    }


def describe_drops(drops: Sequence[Drop], path: Path) -> Iterator[str]:
    """How many rows were dropped for which reason, and the first one of each reason in words."""
    if drops:
        counts = Counter(drop.reason for drop in drops).most_common()
        reasons = ", ".join(f"{number} {reason}" for reason, number in counts)
        yield f"dropped {len(drops)} row{'s' * (len(drops) > 1)}: {reasons}; all in {path}"
        first = {drop.reason: drop for drop in reversed(drops)}
        yield from (f"  {first[reason]}" for reason, _ in counts)


def describe_near_duplicates(found: Assignment) -> Iterator[str]:
    """How many rows are kept that are nearly another one: a file that repeats one in capitals, say."""
    if number := _count_near_duplicates(found):
        are = "row is a near-duplicate" if number == 1 else "rows are near-duplicates"
        yield f"{number} {are} of another one (case, accents and numbers do not count): kept, on the side of that one"


def _count_near_duplicates(found: Assignment) -> int:
    return sum(len(rows) for rows in found.sides.values()) - len(found.groups)


def describe_seeds(seeds: Sequence[LeakedText], path: Path) -> Iterator[str]:
    """How many hand-written tasks are too near to a question, and the first of them."""
    if seeds:
        yield f"warning: seed tasks that are too near to an evaluation question: {len(seeds)}; all in {path}"
        yield "  they are kept; python -m commands.validate says what to reword"
        yield from (f"  {leaked}" for leaked in seeds[:SHOWN])


def warn_of_sizes(found: Assignment, requested: Mapping[str, int]) -> Iterator[str]:
    """A line for each side that is empty or twice as large as requested, with the group that may be the reason."""
    size = Counter({name: len(rows) for name, rows in found.sides.items()})
    side = {row.id: name for name, rows in found.sides.items() for row in rows}
    for name, wanted in requested.items():
        if wanted and (not size[name] or size[name] > 2 * wanted):
            groups = [(len(ids), first) for first, ids in found.groups.items() if side[first] == name]
            among = groups or [(len(ids), first) for first, ids in found.groups.items()]
            largest, first = max(among, key=lambda group: group[0], default=(0, ""))
            whose = "its" if groups else "the"
            where = "" if groups else f", in {side[first]}" if first else ""
            yield (
                f"warning: {name} has {size[name]} rows ({wanted} requested); {whose} largest near-duplicate group "
                f"starts at {first} ({largest} rows{where})"
            )


def warn_of_lacks(found: Assignment, rows: Iterable[PoolRow], requested: Mapping[str, int]) -> Iterator[str]:
    """A line for each file and family of which a side that should have some rows has none, with the way out."""
    side = {row.id: name for name, listed in found.sides.items() for row in listed}
    group = {row_id: first for first, ids in found.groups.items() for row_id in ids}
    members: dict[str, list[str]] = {}
    for row in rows:
        if row.task.id in side:
            for whose in [row.origin.file] if row.origin else []:
                members.setdefault(whose, []).append(row.task.id)
            members.setdefault(f"family {row.task.family}", []).append(row.task.id)
    shares = {name: wanted / max(1, len(side)) for name, wanted in requested.items()}
    shares["train"] = 1 - sum(shares.values())
    told: set[frozenset[str]] = set()
    for whose, ids in members.items():
        held = Counter(side[row_id] for row_id in ids)
        lacking = [name for name in SIDES if not held[name] and shares[name] * len(ids) >= 1]
        if lacking and frozenset(ids) not in told:
            told.add(frozenset(ids))
            first, largest = Counter(group[row_id] for row_id in ids).most_common(1)[0]
            reason = "it is chance: another split.seed, larger sizes or more rows help"
            if 2 * largest > len(ids):
                reason = (
                    f"{largest} of them are near-duplicates of {first} and stay together: raise "
                    "split.near_duplicate_threshold, or leave out all but a few of them"
                )
            number = f"{len(ids)} row{'s' * (len(ids) > 1)}"
            yield f"warning: {' and '.join(lacking)} have none of the {number} of {whose}: {reason}"
