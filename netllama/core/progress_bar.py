"""A progress bar over rows, where there are enough of them to wait for."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

_LEAST = 1000
"""Fewer rows are done before anybody reads the bar."""


def track_rows(rows: Sequence[T], label: str) -> Iterator[T]:
    """The rows in their order, behind a bar called `label` on stderr."""
    yield from tqdm(rows, desc=label, unit="row", disable=len(rows) < _LEAST)
