"""A progress bar over rows, where there are enough of them to wait for."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

_LEAST = 1000
"""Fewer rows are done before anybody reads the bar."""


def track_rows(rows: Sequence[T], label: str) -> Iterator[T]:
    """The rows in their order, behind a bar called `label` on stderr."""
    yield from track_results(rows, label, len(rows))


def track_results(results: Iterable[T], label: str, rows: int) -> Iterator[T]:
    """What comes of so many rows, a result each."""
    yield from tqdm(results, desc=label, unit="row", total=rows, disable=rows < _LEAST)


def track_parts(parts: Iterable[T], label: str, number: int) -> Iterator[T]:
    """Parts of work that each take long enough to be waited for."""
    yield from tqdm(parts, desc=label, unit="part", total=number, disable=not number)
