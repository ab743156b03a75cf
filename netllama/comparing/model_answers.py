"""What one state of the experiment said, and how it was asked."""

from dataclasses import dataclass
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
    documents: Documents
    model: str
    """The base's name."""
    weights: dict[str, str]
    """The hash of each file with weights of the base."""
    params: dict[str, object]
    """The section `evaluate`."""
    code: dict[str, str]
    """The hash of each folder of netllama/ by which a model is asked and its answers are judged."""
