"""What every kind of scoring comes to, and what statistics and reports read: a record for each answer of a model."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from netllama.core.records import QuestionKind, Record

GENERAL = "general"
"""The family of questions on anything but networks: they show what a model forgets."""
Numbers: TypeAlias = Mapping[str, "float | Numbers"]
"""Metrics: numbers by name, in groups of groups."""


def find_number(metrics: Numbers, key: str) -> float | None:
    """The number under a dotted key such as `heldout.loss`; None where there is none."""
    found: float | Numbers | None = metrics
    for name in key.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, float | int) else None


SHOWN_NUMBERS = {
    "test_loss": "heldout.loss",
    "choice": "choice.accuracy",
    "true_false": "true_false.accuracy",
    "blanks": "blank.accuracy",
    "key_facts": "open.key_facts",
    "code": "code.climbed",
    "reading": "reading.retrieved.accuracy",
    "general": "general.accuracy",
}
"""What DVC shows of the tuned model, and the keys: the names are short, so that all stages fit 160 columns together."""


def select_numbers(metrics: Numbers, keys: Mapping[str, str]) -> dict[str, float]:
    """The numbers under `keys`, by their short names; those that were not measured are left out."""
    found = {name: find_number(metrics, key) for name, key in keys.items()}
    return {name: number for name, number in found.items() if number is not None}


class Score(Record):
    """One answer of a model, and what it is worth: a line of results/base.jsonl and results/tuned.jsonl."""

    item: str
    """Id of the question, or of the row of the test split."""
    suite: str
    """Where the item stands: `questions`, `reports`, `programs`, or `test` (the split)."""
    family: str
    kind: QuestionKind | Literal["generation", "heldout", "report", "program", "code_samples"]
    """Of a row of the test split. generation: it is answered in full; heldout: its own answer is predicted. report: a
    question on network reports; program: a task that a program drew from the testbed; code_samples: a code question,
    answered several times with tokens that are drawn."""
    arm: Literal["", "closed", "oracle", "retrieved", "distractors", "absent"] = ""
    """Which documents the question was asked with; empty: it is not a question that has any."""
    cluster: str
    """Items of one non-empty cluster stand or fall together."""
    value: float
    """From 0 to 1: 1 for the right option or text, or 0; share of key facts (open), ROUGE-L F1 (generation). heldout:
    the loss in nats a token."""
    measures: dict[str, float]
    """What else was measured of the same answer, by name."""
    answer: str
    """What the model chose or wrote."""
    expected: str
    """The right option, or the reference answer."""
    explanation: str
    """How `value` came about, for people; empty: nothing to say."""
