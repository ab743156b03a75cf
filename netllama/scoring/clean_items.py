"""Base against tuned once more, without the questions that share text with the training data."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import TypeAlias

from netllama.core.files import JsonObject
from netllama.scoring.choice import measure_baselines
from netllama.scoring.comparison import ALL_HITS, NO_HIT, Pair, compare_groups, group_pairs
from netllama.statistics.verdicts import SuiteComparison

NOT_LOOKED_FOR = {
    "test": "rows of the split, which looks for them in train itself",
    "reports": "questions on networks of the test side alone",
    "programs": "tasks on networks of the test side alone",
}
"""Why there is none of items that are no questions of data/questions/, by `Score.suite`."""
CleanItems: TypeAlias = SuiteComparison | str
"""The comparison of a suite's other items, or why there is none."""


def compare_clean(pairs: Sequence[Pair], hits: Collection[str]) -> dict[str, CleanItems]:
    """By suite, the comparison without the questions whose ids are in `hits`.

    p-values are adjusted for all suites that are left, as those of all items are. A suite without a hit has the scores
    that it has: it is not compared again.
    """
    groups = group_pairs(pairs)
    left = {suite: [pair for pair in own if not _is_hit(pair, hits)] for suite, own in groups.items()}
    clean: dict[str, CleanItems] = dict.fromkeys(groups, NO_HIT)
    if any(len(left[suite]) < len(own) for suite, own in groups.items()):
        compared = {each.suite: each for each in compare_groups({suite: own for suite, own in left.items() if own})}
        clean |= {suite: compared.get(suite, ALL_HITS) for suite, own in groups.items() if len(left[suite]) < len(own)}
    others = {suite: own[0][0].suite for suite, own in groups.items() if own[0][0].suite in NOT_LOOKED_FOR}
    return clean | {suite: NOT_LOOKED_FOR[name] for suite, name in others.items()}


def note_suites(pairs: Sequence[Pair], clean: Mapping[str, CleanItems]) -> dict[str, JsonObject]:
    """By suite, what its row in the comparison says besides: `clean`, and of closed questions what `guessing` gets."""
    notes: dict[str, JsonObject] = {}
    for suite, own in group_pairs(pairs).items():
        found = clean[suite]
        notes[suite] = {"clean": found if isinstance(found, str) else asdict(found)}
        if baselines := measure_baselines([tuned for _, tuned in own]):
            notes[suite]["guessing"] = dict(baselines)
    return notes


def describe_clean(comparisons: Sequence[SuiteComparison], clean: Mapping[str, CleanItems]) -> str:
    """The differences tuned - base with and without the hits, in one clause; suites without a hit are left out."""
    phrases = []
    for each in comparisons:
        found = clean[each.suite]
        if isinstance(found, SuiteComparison):
            phrases.append(f"{each.suite} {found.difference.value:+.3f} (with them {each.difference.value:+.3f})")
        elif found == ALL_HITS:
            phrases.append(f"{each.suite} none left")
    return f"without them, tuned - base: {', '.join(phrases)}" if phrases else "none of them was asked"


def _is_hit(pair: Pair, hits: Collection[str]) -> bool:
    return pair[0].suite == "questions" and pair[0].item in hits
