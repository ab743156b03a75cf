"""What makes up a kind of report: its wordings, the facts drawn from a network, and the questions that it answers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from testbed.reports.report_records import Part
from testbed.reports.report_wording import Fields, list_fields
from testbed.reports.reported_network import ReportedNetwork

HELD_OUT = 2
"""How many of a question's wordings, the last ones, only the test asks in, and how many before them only validation."""
LEARNED_SCOPES = 2
"""How many of a kind's scopes training uses; one more is validation's, and the last one is the test's."""
Compute = Callable[[Fields], str | None]
"""The fields of a report, with those that the question names, -> the answer; None if there is none, as for ties."""


def list_nothing(fields: Fields) -> list[dict[str, str]]:
    return [{}]


@dataclass(frozen=True)
class QuestionType:
    """A type of question. `{scope}` in a wording names the subject of the report."""

    name: str
    needs: tuple[str, ...]
    """Fields of the report from which the answer follows."""
    compute: Compute
    wordings: tuple[str, ...]
    difficulty: int = 1
    choices: tuple[str, ...] = ()
    list_asked: Callable[[Fields], list[dict[str, str]]] = list_nothing
    """Further fields that a question may name, such as a row of a table: one of these is chosen."""

    def __post_init__(self) -> None:
        if len(self.wordings) < 4 + 2 * HELD_OUT:
            raise ValueError(f"question type {self.name} has only {len(self.wordings)} wordings")

    def list_wordings(self, part: Part) -> tuple[str, ...]:
        """Those that this part alone asks in."""
        learned = len(self.wordings) - 2 * HELD_OUT
        ends = {"train": (0, learned), "val": (learned, -HELD_OUT), "test": (-HELD_OUT, None)}
        return self.wordings[slice(*ends[part])]


@dataclass(frozen=True)
class ReportKind:
    """A kind of report. The opening names the subject; every group of sentences has wordings of the same fields."""

    name: str
    subject: tuple[str, ...]
    """Fields that tell a report from all others."""
    titles: tuple[str, ...]
    openings: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    scopes: tuple[str, ...]
    """How questions name the subject: two ways of training, one more of validation, one more of the test."""
    types: tuple[QuestionType, ...]
    draw_facts: Callable[[ReportedNetwork], Iterable[Fields]]
    """All that the network has to report, as fields. A group whose fields are missing is left out."""

    def __post_init__(self) -> None:
        for same in (*self.groups, self.openings, self.scopes):
            if len({list_fields(wording) for wording in same}) != 1:
                raise ValueError(f"wordings of {self.name} differ in their fields: {same}")
        if list_fields(self.openings[0]) != set(self.subject) or list_fields(self.scopes[0]) != set(self.subject):
            raise ValueError(f"openings and scopes of {self.name} must name {self.subject}")
        if len(self.scopes) != LEARNED_SCOPES + 2:
            raise ValueError(f"{self.name} has {len(self.scopes)} scopes")

    def list_scopes(self, part: Part) -> tuple[str, ...]:
        """Those of training, and beside them the one that only this part uses."""
        own = {"train": self.scopes[:0], "val": self.scopes[-2:-1], "test": self.scopes[-1:]}
        return self.scopes[:LEARNED_SCOPES] + own[part]


def ask_field(name: str, *wordings: str, difficulty: int = 1, field: str | None = None) -> QuestionType:
    """A question for a field as the report states it."""
    key = field or name
    return QuestionType(name, (key,), lambda fields: fields[key], wordings, difficulty)
