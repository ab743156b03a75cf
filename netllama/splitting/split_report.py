"""What a split came to: the metrics, and the lines that are printed."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from netllama.contamination.leakage_report import Leak
from netllama.splitting.drops import Drop
from netllama.splitting.groups import Assignment

SHOWN = 5
"""Rows that are printed of a list that stands in a file."""


def metrics(found: Assignment, drops: Sequence[Drop], seeds: Sequence[Leak], leakage: Mapping[str, Any]) -> Any:
    kept = sum(len(rows) for rows in found.sides.values())
    return {
        "rows": {name: len(rows) for name, rows in found.sides.items()},
        "family": {name: dict(Counter(row.family for row in rows)) for name, rows in found.sides.items()},
        "source": {name: dict(Counter(row.source for row in rows)) for name, rows in found.sides.items()},
        "dropped": dict(Counter(drop.reason for drop in drops)),
        "near_duplicates": kept - len(found.groups),
        "seeds_near_questions": len(seeds),
        "leakage": leakage,
    }


def of_drops(drops: Sequence[Drop], path: Path) -> Iterable[str]:
    """The number by reason, and the first one of each, which says it in words."""
    if drops:
        counts = Counter(drop.reason for drop in drops).most_common()
        reasons = ", ".join(f"{number} {reason}" for reason, number in counts)
        yield f"dropped {len(drops)} rows: {reasons}; all in {path}"
        first = {drop.reason: drop for drop in reversed(drops)}
        yield from (f"  {first[reason]}" for reason, _ in counts)


def of_seeds(seeds: Sequence[Leak], path: Path) -> Iterable[str]:
    if seeds:
        yield f"{len(seeds)} hand-written seeds are like an evaluation question, and are kept; all in {path}"
        yield from (f"  {leak}" for leak in seeds[:SHOWN])


def unbalanced(found: Assignment, asked: Mapping[str, int]) -> list[str]:
    """A line for each side that is empty, or twice as large as it was meant to be, and the reason if it is a group."""
    size = Counter({name: len(rows) for name, rows in found.sides.items()})
    side = {row.id: name for name, rows in found.sides.items() for row in rows}
    lines = []
    for name, wanted in asked.items():
        if wanted and (not size[name] or size[name] > 2 * wanted):
            groups = [(len(ids), first) for first, ids in found.groups.items() if side[first] == name]
            among = groups or [(len(ids), first) for first, ids in found.groups.items()]
            largest, first = max(among, key=lambda group: group[0], default=(0, ""))
            where = "its" if groups else "the"
            lines.append(
                f"warning: {name} holds {size[name]} rows, asked for were {wanted}; {where} biggest group is that of "
                f"{first} ({largest} rows{'' if groups else f', in {side[first]}' if first else ''})"
            )
    return lines
