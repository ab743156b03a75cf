"""Tasks that a program draws from the testbed: what is asked, the exact answer, and how an answer is judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

TaskKind = Literal["decode", "origin", "percentile", "retransmissions", "filter", "repair"]
KINDS: tuple[TaskKind, ...] = get_args(TaskKind)
Level = Literal["easy", "medium", "hard"]
LEVELS: tuple[Level, ...] = get_args(Level)
Judged = Literal["text", "list", "filter", "script"]
"""text: the same text or number; list: the same values, in any order; filter: it selects the same lines; script: it
writes the same result.json."""
FAMILY = "testbed"


@dataclass(frozen=True)
class TaskDraft:
    """A task without its wording."""

    fields: Mapping[str, str]
    """What the wordings name in braces."""
    input: str
    answer: str
    judged: Judged = "text"
    aliases: tuple[str, ...] = ()
    """Other texts that are right, too."""
    selected: tuple[int, ...] = ()
    """filter: the numbers of the lines of `input` that the answer selects."""
    cluster: str = ""
    """Tasks of one non-empty cluster are of one script."""
    scenario: str = ""
    """script: what it is run against."""


@dataclass(frozen=True)
class ProgramTask:
    """A task with its wording."""

    id: str
    kind: TaskKind
    difficulty: Level
    instruction: str
    draft: TaskDraft = field(repr=False)
