"""Base against tuned on the same items: one comparison for each kind of measurement, and the verdict in words."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import numpy as np

from netllama.core.errors import StageError
from netllama.core.files import JsonObject
from netllama.scoring.score import GENERAL, Score
from netllama.statistics.paired_scores import PairedScores, number_clusters
from netllama.statistics.verdicts import SuiteComparison, compare_suites

NAMES = {
    "heldout": "loss on held-out answers",
    "choice": "four-choice questions",
    "true_false": "true/false questions",
    "blank": "blanks",
    "open": "key facts of open answers",
    "code": "code questions",
    "generation": "ROUGE-L of written answers",
}
"""What the sentences call a suite, by the kind of its scores, in the order of the report."""
LADDER = "how far code gets"
"""The suite of the rungs that scripts climb: it tells models apart of which no script is right."""


def name_suite(score: Score) -> str:
    """The suite that a score belongs to."""
    return "general questions" if score.family == GENERAL else NAMES[score.kind]


def compare_models(base: Sequence[Score], tuned: Sequence[Score]) -> list[SuiteComparison]:
    """A comparison for each suite, in the order of `NAMES`; StageError where the two did not answer the same items."""
    pairs = pair_scores(base, tuned)
    suites = []
    for suite in (*NAMES.values(), "general questions"):
        own = [pair for pair in pairs if name_suite(pair[0]) == suite]
        if own:
            suites.append(make_suite(suite, own))
    if code := [pair for pair in pairs if pair[0].kind == "code"]:
        suites.append(make_suite(LADDER, code, "rung"))
    return compare_suites(suites)


def pair_scores(base: Iterable[Score], tuned: Iterable[Score]) -> list[tuple[Score, Score]]:
    """The two scores of each item, in the order of the tuned model's."""
    before = {(score.kind, score.item): score for score in base}
    pairs = []
    for score in tuned:
        other = before.pop((score.kind, score.item), None)
        if other is None or other.expected != score.expected:
            raise StageError(f"results/base.jsonl: no answer to {score.kind} {score.item}; run `dvc repro baseline`")
        pairs.append((other, score))
    if before:
        kind, item = min(before)
        raise StageError(f"results/base.jsonl: {kind} {item} was not asked this time; run `dvc repro baseline`")
    return pairs


def make_suite(name: str, pairs: Sequence[tuple[Score, Score]], measure: str = "") -> PairedScores:
    """The values of the scores, or one of their measures.

    Losses are weighted by their tokens, so that their mean is the loss of all tokens.
    """
    items, clusters = [base.item for base, _ in pairs], [base.cluster for base, _ in pairs]
    return PairedScores(
        suite=name,
        base=np.array([base.measures[measure] if measure else base.value for base, _ in pairs]),
        tuned=np.array([tuned.measures[measure] if measure else tuned.value for _, tuned in pairs]),
        clusters=number_clusters(items, clusters),
        weights=np.array([base.measures.get("tokens", 1.0) for base, _ in pairs]),
        higher_is_better=pairs[0][0].kind != "heldout",
    )


def as_rows(comparisons: Sequence[SuiteComparison]) -> list[JsonObject]:
    """The comparisons as JSON, numbers to four digits."""
    return [_round_numbers(asdict(each)) for each in comparisons]


def _round_numbers(row: JsonObject) -> JsonObject:
    rounded: JsonObject = {}
    for key, value in row.items():
        if isinstance(value, dict):
            rounded[key] = _round_numbers(value)
        else:
            # A single cluster has an interval without ends, which JSON can't say.
            rounded[key] = (round(value, 4) if np.isfinite(value) else None) if isinstance(value, float) else value
    return rounded
