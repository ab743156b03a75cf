"""Draws the examples for a request from seed tasks and kept machine-made tasks, spread over their categories.

A task's rank in a draw is a hash of the draw's name and the task's id alone. So a seed that is edited or added, or a
task that joins the pool, changes only the requests that draw it.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol


class Example(Protocol):
    """A seed task or a kept machine-made task."""

    @property
    def id(self) -> str: ...
    @property
    def instruction(self) -> str: ...
    @property
    def input(self) -> str: ...
    @property
    def output(self) -> str: ...
    @property
    def category(self) -> str: ...


def draw_exemplars(
    seeds: Sequence[Example],
    machine: Sequence[Example],
    num_seeds: int,
    num_machine: int,
    max_tokens: int,
    draw: str,
) -> list[Example]:
    """Draw machine-made and seed examples, in mixed order and together at most `max_tokens` long.

    `draw` names the seed and the slot: equal names draw equal examples. While there are too few machine-made tasks,
    seeds take their places (Self-Instruct, arXiv 2212.10560, section 2.2). Tasks that do not fit are skipped; if no
    task fits, the shortest seed is the only example.
    """
    exemplars: list[Example] = []

    def fits(task: Example) -> bool:
        return sum(map(estimate_length, [*exemplars, task])) <= max_tokens

    for pool, number in ((machine, num_machine), (seeds, num_seeds + num_machine)):
        for task in islice(spread_over_categories(pool, draw, fits), number - len(exemplars)):
            exemplars.append(task)  # one at a time: it decides which tasks fit next
    exemplars.sort(key=lambda task: _compute_rank(f"{draw}/order", task.id))
    return exemplars or [min(seeds, key=estimate_length)]


def spread_over_categories(
    tasks: Sequence[Example], draw: str, fits: Callable[[Example], bool] = lambda task: True
) -> Iterator[Example]:
    """`tasks` in drawn order, one of each category before the second of any, so rare ones are as likely as common ones.

    A task that does not fit gives its place to the next one of its category, as if it did not exist.
    """
    by_category: dict[str, list[Example]] = {}
    for task in sorted(tasks, key=lambda task: _compute_rank(draw, task.id)):
        by_category.setdefault(task.category, []).append(task)
    left = [
        iter(by_category[name])
        for name in sorted(by_category, key=lambda name: _compute_rank(f"{draw}/category", name))
    ]
    while left:
        for members in left.copy():
            found = next(filter(fits, members), None)
            if found is None:
                left.remove(members)
            else:
                yield found


def _compute_rank(draw: str, name: str) -> bytes:
    return hashlib.sha256(f"{draw}/{name}".encode()).digest()


def estimate_length(task: Example) -> int:
    """Length in tokens, at four characters of English or code a token."""
    return (len(task.instruction) + len(task.input) + len(task.output)) // 4
