"""The examples of a request: drawn from seeds and accepted machine tasks, spread over their categories.

A task's rank in a draw is a hash of (draw, its id) and of nothing else. So an edited or added seed, or a task
that joins the pool, changes the requests that draw it and no other.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol

NO_INPUT = "<noinput>"


class Example(Protocol):
    """A seed task or an accepted machine task."""

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
    """Machine-made and seed examples in mixed order, together at most `max_tokens` long.

    `draw` names the slot, with its seed: the same name draws the same. While the machine pool is still short, seeds
    take its places (Self-Instruct, arXiv 2212.10560, section 2.2). What does not fit is passed over; when
    nothing fits, the shortest seed is taken alone.
    """
    exemplars: list[Example] = []

    def fits(task: Example) -> bool:
        return sum(map(tokens_of, [*exemplars, task])) <= max_tokens

    for pool, number in ((machine, num_machine), (seeds, num_seeds + num_machine)):
        for task in islice(spread(pool, draw, fits), number - len(exemplars)):
            exemplars.append(task)  # one at a time: what fits next depends on it
    exemplars.sort(key=lambda task: _rank(f"{draw}/order", task.id))
    return exemplars or [min(seeds, key=tokens_of)]


def spread(
    tasks: Sequence[Example], draw: str, fits: Callable[[Example], bool] = lambda task: True
) -> Iterator[Example]:
    """`tasks` in drawn order, one of each category before the second of any: rare ones are as likely as common ones.

    In the place of a task that does not fit stands the next one of its category, as if it had never been there.
    """
    by_category: dict[str, list[Example]] = {}
    for task in sorted(tasks, key=lambda task: _rank(draw, task.id)):
        by_category.setdefault(task.category, []).append(task)
    left = [iter(by_category[name]) for name in sorted(by_category, key=lambda name: _rank(f"{draw}/category", name))]
    while left:
        for members in left.copy():
            found = next(filter(fits, members), None)
            if found is None:
                left.remove(members)
            else:
                yield found


def _rank(draw: str, name: str) -> bytes:
    return hashlib.sha256(f"{draw}/{name}".encode()).digest()


def tokens_of(task: Example) -> int:
    """Estimated tokens: a token is about four characters of English or code."""
    return (len(task.instruction) + len(task.input) + len(task.output)) // 4
