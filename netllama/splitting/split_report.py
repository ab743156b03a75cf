"""What a split came to: its metrics, and the lines that the stage prints."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from netllama.contamination.leakage_report import LeakedText, SideLeakage
from netllama.splitting.drops import Drop
from netllama.splitting.groups import Assignment

SHOWN = 5
"""How many rows of a list are printed; the file holds all of them."""


def summarise_split(
    found: Assignment, drops: Sequence[Drop], seeds: Sequence[LeakedText], leakage: Mapping[str, SideLeakage]
) -> dict[str, object]:
    """What metrics/split.json holds."""
    kept = sum(len(rows) for rows in found.sides.values())
    return {
        "rows": {name: len(rows) for name, rows in found.sides.items()},
        "family": {name: dict(Counter(row.family for row in rows)) for name, rows in found.sides.items()},
        "source": {name: dict(Counter(row.source for row in rows)) for name, rows in found.sides.items()},
        "dropped": dict(Counter(drop.reason for drop in drops)),
        "near_duplicates": kept - len(found.groups),
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
