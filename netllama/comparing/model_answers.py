"""What one state of the experiment said, and how it was asked."""

from dataclasses import dataclass, field
from typing import TypeAlias

from netllama.scoring.score import Score

Documents: TypeAlias = dict[tuple[str, str], list[str]]
"""Ids of the documents that a question was shown, by arm and question."""


@dataclass(frozen=True)
class RecordedAnswers:
    """What one state of the experiment said."""

    name: str
    base: list[Score]
    tuned: list[Score]
    model: str
    """The base's name."""
    weights: dict[str, str]
    """The hash of each file with weights of the base."""
    documents: Documents | None = None
    """None: it is not known what was shown, as for the next two."""
    params: dict[str, object] | None = None
    """What it was evaluated with, by section and key (`evaluate.num_open`)."""
    code: dict[str, str] | None = None
    """The hash of the code by which a model is asked and its answers are judged, by path."""
    remarks: list[str] = field(default_factory=list)
    """What to know of this state alone, in sentences."""
