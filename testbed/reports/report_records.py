"""The records of a report set: network reports, and questions about them with exact answers."""

from dataclasses import dataclass
from typing import Literal

Side = Literal["train", "test"]
"""Names and numbers of the two sides are drawn from disjoint pools."""
Part = Literal["train", "val", "test"]
"""What a set is for. Each has networks and wordings of its own; validation draws its names as training does."""
Absence = Literal["", "report", "fact"]
"""Why no report holds an answer: there is no report of what is asked about, or its report does not state the fact."""


@dataclass(frozen=True)
class Report:
    """One document, below 160 tokens of the default's tokenizer."""

    id: str
    kind: str
    title: str
    text: str


@dataclass(frozen=True)
class ReportQuestion:
    """A question that names what it is about so exactly that at most one report of the set answers it."""

    id: str
    kind: str
    type: str
    """What is asked: `kind.type` names the type of question."""
    question: str
    answer: str
    """As the report writes it, at most 15 words; empty if no report holds it."""
    golden: tuple[str, ...]
    """The id of the report that holds the answer; empty: none of the set does."""
    distractors: tuple[str, ...]
    """Ids of reports that don't hold the answer: the most similar of the same kind first, then some of other kinds.
    Those of the same kind state the fact that is asked, for something else and with another value (a choice, such as
    yes or no, may be the same). With absence `fact`, the first is the report that lacks the fact."""
    difficulty: int
    """1: the report states one such value; 2: it must be found among several; 3: two or more facts are combined."""
    absence: Absence
    known_wording: bool
    """Whether training asks with this wording, too."""
    choices: tuple[str, ...]
    """All possible answers, if there are only a few (yes and no); empty otherwise."""


@dataclass(frozen=True)
class ReportSet:
    reports: tuple[Report, ...]
    questions: tuple[ReportQuestion, ...]
