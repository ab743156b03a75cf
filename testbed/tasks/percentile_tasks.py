"""Tasks `percentile`: latency or jitter values -> a percentile by a stated method, exact and not rounded.

easy: nearest rank; medium: linear interpolation between ranks, as by default in NumPy and pandas; hard: the same of the
jitter, the changes of the delays from packet to packet, which have to be computed first.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import ceil
from random import Random

from testbed.tasks.task_networks import TaskNetwork
from testbed.tasks.task_records import Level, TaskDraft

WORDINGS = (
    "Compute the {share}th percentile of {what}. {method}",
    "What is p{share} of {what}? {method}",
    "Our SLA looks at the {share}th percentile. Work it out for {what}. {method}",
    "Sort {what} and read off the {share}th percentile. {method}",
    "Give p{share} for {what}, no spreadsheet at hand. {method}",
    "I need the {share}th percentile of {what} for a report. {method}",
    "Take {what} and tell me the value at the {share}th percentile. {method}",
    "A dashboard shows p{share}; check it against {what}. {method}",
    "By hand, please: the {share}th percentile over {what}. {method}",
    "Summarise {what} in a single figure, the {share}th percentile. {method}",
    "State p{share} of {what} as one number. {method}",
    "Someone doubts our p{share}. Recompute it from {what}. {method}",
    "Find the {share}th percentile in {what}. {method}",
    "Reduce {what} to p{share}. {method}",
)
"""`method`: sentences."""
NEAREST = "Nearest rank: the value at place ceil(p/100 * n) in ascending order."
LINEAR = "Linear interpolation: with n values in ascending order the place is 1 + p/100 * (n - 1)."
JITTER = "Jitter is the absolute change of the delay from one packet to the next."
_SHARES = {"easy": (50, 60, 75, 80, 90), "medium": (50, 75, 90, 95), "hard": (50, 75, 90)}
_SIZES = {"easy": (5, 9), "medium": (5, 11), "hard": (6, 9)}


def draw_percentile(network: TaskNetwork, rng: Random, level: Level) -> TaskDraft:
    share, size = rng.choice(_SHARES[level]), rng.randrange(*_SIZES[level])
    if level == "hard":
        flow, delays = _draw_delays(network, rng, size)
        values = [abs(after - before) for before, after in pairwise(delays)]
        what, method = f"the jitter of flow {flow} (one-way delays in ms, in the order sent)", f"{JITTER} {LINEAR}"
        shown = delays
    else:
        what, values = _draw_values(network, rng, size)
        method, shown = NEAREST if level == "easy" else LINEAR, values
    answer = compute_nearest(values, share) if level == "easy" else compute_linear(values, share)
    fields = {"share": str(share), "what": what, "method": method}
    return TaskDraft(fields, " ".join(map(str, shown)), _format(answer))


def compute_nearest(values: Sequence[Decimal], share: int) -> Fraction:
    return Fraction(sorted(values)[ceil(Fraction(share * len(values), 100)) - 1])


def compute_linear(values: Sequence[Decimal], share: int) -> Fraction:
    ordered = [Fraction(value) for value in sorted(values)]
    place = Fraction(share * (len(ordered) - 1), 100)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _draw_values(network: TaskNetwork, rng: Random, size: int) -> tuple[str, list[Decimal]]:
    """Values with one decimal that follow each other in a table of the network."""
    names = network.simulated.names
    if rng.random() < 0.5:
        rows = [row for row in network.simulated.sessions.rows if row["setup_ms"] is not None]
        what, column = "these session setup times in ms", "setup_ms"
    else:
        cell = rng.choice(sorted({row["cell"] for row in network.simulated.kpi.rows}))
        rows = [row for row in network.simulated.kpi.rows if row["cell"] == cell and row["latency_ms"] is not None]
        what, column = f"the latencies of cell {names.name_cell(cell)} in ms", "latency_ms"
    start = rng.randrange(len(rows) - size)
    return what, [Decimal(f"{row[column]:.1f}") for row in rows[start : start + size]]


def _draw_delays(network: TaskNetwork, rng: Random, size: int) -> tuple[str, list[Decimal]]:
    flow = rng.choice(("voice", "video"))
    rows = [row for row in network.packets if row["flow"] == flow and row["receive_time"]]
    start = rng.randrange(len(rows) - size)
    delays = []
    for row in rows[start : start + size]:
        sent, received = (datetime.fromisoformat(row[name]) for name in ("send_time", "receive_time"))
        delays.append(Decimal(f"{(received - sent).total_seconds() * 1000:.1f}"))
    return network.simulated.names.name_thing("flow", flow), delays


def _format(value: Fraction) -> str:
    """All decimals: the methods give no more than three to values with one."""
    return f"{float(value):.3f}".rstrip("0").rstrip(".")
