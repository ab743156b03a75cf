"""A function of the texts of a task over many tasks, a process a core; the same results for any number of cores."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple, TypeVar

from netllama.contamination.compared_texts import TaskTexts
from netllama.core.cores import count_cores
from netllama.core.worker_pool import map_in_order

T = TypeVar("T")
TASKS_FOR_WORKERS = 20_000
"""So many tasks outweigh the start of processes."""
_CHUNK = 1_000


class _Texts(NamedTuple):
    """What of a task is compared: all that goes to another process."""

    instruction: str
    input: str
    output: str


def map_texts(build: Callable[[], Callable[[TaskTexts], T]], tasks: Sequence[TaskTexts]) -> Iterator[T]:
    """`build()(task)` for each task, in order. Each process builds its function once."""
    if len(tasks) < TASKS_FOR_WORKERS:
        yield from map(build(), tasks)
        return
    chunks = (
        ([_Texts(task.instruction, task.input, task.output) for task in tasks[first : first + _CHUNK]],)
        for first in range(0, len(tasks), _CHUNK)
    )
    yield from chain.from_iterable(map_in_order(partial(_build_for_chunks, build), chunks, count_cores()))


def _build_for_chunks(build: Callable[[], Callable[[TaskTexts], T]]) -> Callable[[Sequence[TaskTexts]], list[T]]:
    function = build()
    return lambda tasks: list(map(function, tasks))
