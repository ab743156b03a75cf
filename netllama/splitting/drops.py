"""Why a row is on no side: one record a row, which data/splits/dropped.jsonl lists and metrics/split.json counts."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

Reason = Literal[
    "not_json",
    "not_utf8",
    "not_an_object",
    "wrong_type",
    "no_instruction",
    "no_output",
    "half_surrogate",
    "nul",
    "prompt_leakage",
    "exact_duplicate",
    "near_question",
    "two_sides",
]


class Origin(NamedTuple):
    """Where a foreign row stands: a line of JSONL or an item of a JSON array, counted from 1."""

    file: str
    unit: Literal["line", "item"]
    number: int


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
            row |= {"file": self.origin.file, self.origin.unit: self.origin.number}
        return {key: value for key, value in row.items() if value}

    def __str__(self) -> str:
        where = f"{self.origin.file}, {self.origin.unit} {self.origin.number}" if self.origin else self.id
        return f"{where}: {self.reason} ({self.detail})"
