"""Why a row is on no side: one record a row, which data/splits/dropped.jsonl lists and metrics/split.json counts."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

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
    """Where a foreign row stands: a line of JSONL, or an item of a JSON array, counted from 1."""

    file: str
    unit: Literal["line", "item"]
    number: int


@dataclass(frozen=True)
class Drop:
    reason: Reason
    detail: str
    id: str = ""
    """Empty: no row could be made of it."""
    of: tuple[str, ...] = ()
    """The rows or questions that it was dropped for."""
    origin: Origin | None = None
    """Of foreign rows."""

    def as_row(self) -> dict[str, Any]:
        """What is known of it, without empty keys: `file` and `line` or `item`, `id`, `reason`, `detail`, `of`."""
        row = {key: value for key, value in asdict(self).items() if key != "origin" and value}
        if self.origin:
            row |= {"file": self.origin.file, self.origin.unit: self.origin.number}
        return row

    def __str__(self) -> str:
        where = f"{self.origin.file}, {self.origin.unit} {self.origin.number}" if self.origin else self.id
        return f"{where}: {self.reason} ({self.detail})"
