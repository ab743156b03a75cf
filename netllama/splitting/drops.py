"""Why a row is on no side: one record a row, which data/splits/dropped.jsonl lists and a metric counts by reason."""

import json
from dataclasses import dataclass
from typing import Literal, NamedTuple

Reason = Literal[
    "not_json",
    "not_utf8",
    "not_an_object",
    "unknown_keys",
    "no_turn",
    "wrong_type",
    "no_instruction",
    "no_output",
    "half_surrogate",
    "nul",
    "noncharacter",
    "too_long",
    "prompt_leakage",
    "exact_duplicate",
    "near_question",
    "two_sides",
]


class BadRow(ValueError):
    """A foreign row that can't be used: the reason and what in particular."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason


class Origin(NamedTuple):
    """Where a row stands: a line of JSONL or an item of a JSON array, counted from 1."""

    file: str
    unit: Literal["line", "item"]
    number: int

    def as_row(self, prefix: str = "") -> dict[str, object]:
        """`file` and `line` or `item`, as keys that begin with `prefix`."""
        return {f"{prefix}file": self.file, f"{prefix}{self.unit}": self.number}

    def __str__(self) -> str:
        return f"{self.file}, {self.unit} {self.number}"


@dataclass(frozen=True)
class Drop:
    """A row that is left out, and why."""

    reason: Reason
    detail: str
    """The reason in words, for this row."""
    id: str = ""
    """Empty where no row could be made of it."""
    of: tuple[str, ...] = ()
    """Ids of the rows or questions that it was dropped for."""
    origin: Origin | None = None
    """None unless the row is foreign."""

    def as_row(self) -> dict[str, object]:
        """`file` and `line` or `item`, `id`, `reason`, `detail`, `of`, without the keys that are empty."""
        row: dict[str, object] = {"id": self.id, "reason": self.reason, "detail": self.detail, "of": list(self.of)}
        if self.origin:
            row |= self.origin.as_row()
        return {key: value for key, value in row.items() if value}

    def __str__(self) -> str:
        return f"{self.origin or self.id}: {self.reason} ({self.detail})"


def shorten_value(value: object) -> str:
    """A value as JSON, of at most 40 characters."""
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."
