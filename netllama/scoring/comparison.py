"""Base against tuned on the same items: one comparison for each kind of measurement, and the verdict in words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import TypeAlias

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
    "code_samples": "code questions, sampled",
    "generation": "ROUGE-L of written answers",
    "report": "network reports",
    "program": "tasks by program",
}
"""What the sentences call a suite, by the kind of its scores, in the order of the report."""
ARM_NAMES = {
    "closed": "without documents",
    "oracle": "with the right document",
    "retrieved": "with found documents",
    "distractors": "with wrong documents only",
    "absent": "that hold no answer",
}
"""What follows the name of a suite whose questions are asked with documents."""
Pair: TypeAlias = tuple[Score, Score]
"""The scores of one item: base and tuned."""
NO_HIT, ALL_HITS = "no hit", "all are hits"
"""Why a suite has no comparison of its items that share no text with the training data (clean_items.py)."""
LADDER = "how far code gets"
"""The suite of the rungs that scripts climb: it tells models apart of which no script is right."""


def name_suite(score: Score) -> str:
    """The suite that a score belongs to."""
    if score.arm:
        return f"{NAMES[score.kind]} {ARM_NAMES[score.arm]}"
    return "general questions" if score.family == GENERAL else NAMES[score.kind]


def group_pairs(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """The pairs of each suite that there is, in the order of `NAMES`; those of code are of two suites."""
    with_documents = [f"{name} {arm}" for name in NAMES.values() for arm in ARM_NAMES.values()]
    suites = (*NAMES.values(), *with_documents, "general questions")
    groups = {suite: [pair for pair in pairs if name_suite(pair[0]) == suite] for suite in suites}
    groups[LADDER] = [pair for pair in pairs if pair[0].kind == "code"]
    return {suite: own for suite, own in groups.items() if own}


def compare_groups(groups: Mapping[str, Sequence[Pair]]) -> list[SuiteComparison]:
    """A comparison for each suite of `group_pairs`."""
    return compare_suites([make_suite(suite, own, "rung" * (suite == LADDER)) for suite, own in groups.items()])


def pair_scores(base: Iterable[Score], tuned: Iterable[Score]) -> list[Pair]:
    """The two scores of each item, in the order of the tuned model's; StageError where there are not two."""
    before = {(score.kind, score.arm, score.item): score for score in base}
    pairs = []
    for score in tuned:
        other = before.pop((score.kind, score.arm, score.item), None)
        if other is None or other.expected != score.expected:
            arm = f" (arm {score.arm})" if score.arm else ""
            raise StageError(
                f"results/base.jsonl: no answer to {score.kind} {score.item}{arm}; run `dvc repro baseline`"
            )
        pairs.append((other, score))
    if before:
        kind, _, item = min(before)
        raise StageError(f"results/base.jsonl: {kind} {item} was not asked this time; run `dvc repro baseline`")
    return pairs


def make_suite(name: str, pairs: Sequence[Pair], measure: str = "") -> PairedScores:
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


def as_rows(
    comparisons: Sequence[SuiteComparison], notes: Mapping[str, JsonObject] = MappingProxyType({})
) -> list[JsonObject]:
    """The comparisons as JSON, numbers to four digits, each with what `notes` have of its suite."""
    return [_round_numbers(asdict(each) | notes.get(each.suite, {})) for each in comparisons]


def _round_numbers(row: JsonObject) -> JsonObject:
    rounded: JsonObject = {}
    for key, value in row.items():
        if isinstance(value, dict):
            rounded[key] = _round_numbers(value)
        else:
            # A single cluster has an interval without ends, which JSON can't say.
            rounded[key] = (round(value, 4) if np.isfinite(value) else None) if isinstance(value, float) else value
    return rounded
