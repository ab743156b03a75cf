"""What makes up a kind of report: its wordings, the facts drawn from a network, and the questions that it answers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from testbed.reports.report_wording import Fields, list_fields
from testbed.reports.reported_network import ReportedNetwork

HELD_OUT = 2
"""How many of a question's wordings, the last ones, only side `test` uses."""
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
        if len(self.wordings) < 4 + HELD_OUT:
            raise ValueError(f"question type {self.name} has only {len(self.wordings)} wordings")


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
    """How questions name the subject. Only side `test` uses the last one."""
    types: tuple[QuestionType, ...]
    draw_facts: Callable[[ReportedNetwork], Iterable[Fields]]
    """All that the network has to report, as fields. A group whose fields are missing is left out."""

    def __post_init__(self) -> None:
        for same in (*self.groups, self.openings, self.scopes):
            if len({list_fields(wording) for wording in same}) != 1:
                raise ValueError(f"wordings of {self.name} differ in their fields: {same}")
        if list_fields(self.openings[0]) != set(self.subject) or list_fields(self.scopes[0]) != set(self.subject):
            raise ValueError(f"openings and scopes of {self.name} must name {self.subject}")


def ask_field(name: str, *wordings: str, difficulty: int = 1, field: str | None = None) -> QuestionType:
    """A question for a field as the report states it."""
    key = field or name
    return QuestionType(name, (key,), lambda fields: fields[key], wordings, difficulty)
