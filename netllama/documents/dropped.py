"""What of a corpus was not read, and why."""

from collections.abc import Sequence
from typing import Literal

from netllama.core.records import Record

Cause = Literal[
    "hidden",
    "unknown_ending",
    "duplicate",
    "same_name",
    "link",
    "unreadable",
    "too_large",
    "undecodable",
    "empty",
    "scanned",
    "encrypted",
    "broken",
]
HARMLESS = ("hidden", "unknown_ending", "duplicate")
"""Causes of files that nobody misses, or that are read under another name: no failures."""


class Dropped(Record):
    """A file, a folder or a page that is not among the documents: a row of data/retrieved/dropped.jsonl."""

    file: str
    """As `Document.path`; a folder ends in `/`, and stands for all that is in it."""
    page: int | None = None
    """Of a PDF, from 1; None: the whole file."""
    cause: Cause
    reason: str
    """For people: what is wrong, and where."""

    @property
    def is_failure(self) -> bool:
        """Whether a whole file is missing that should have been read."""
        return self.page is None and self.cause not in HARMLESS

    def __str__(self) -> str:
        return f"{self.file}{f' page {self.page}' if self.page else ''}: {self.reason}"


def measure_dropped_share(dropped: Sequence[Dropped], documents: int) -> float:
    """0 to 1: files that were not read, of all that should have been, where `documents` were."""
    failures = sum(each.is_failure for each in dropped)
    return failures / max(1, failures + documents)


class DropError(Exception):
    """A file can't be read."""

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause
        self.reason = reason
