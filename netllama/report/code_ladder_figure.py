"""Code questions: how many answers reach each rung of the ladder, and what stops the others."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from netllama.code_tasks.code_ladder import FailureClass, Rung
from netllama.report.suite_charts import BarPair, draw_bars
from netllama.report.svg import Figure
from netllama.scoring.code_questions import read_failure, read_rung
from netllama.scoring.score import Score
from netllama.statistics.intervals import estimate_proportion
from netllama.statistics.paired_scores import number_clusters

RUNG_NAMES = {
    Rung.EXTRACTED: "has code",
    Rung.PARSES: "parses",
    Rung.IMPORTS_EXIST: "its imports exist",
    Rung.RUNS: "runs",
    Rung.TOUCHED_DATA: "touched the data",
    Rung.VALID_RESULT: "wrote a valid result",
    Rung.RIGHT: "the result is right",
}


@dataclass(frozen=True)
class FailureCount:
    """How many answers a fault stopped."""

    failure: str
    base: int
    tuned: int


@dataclass(frozen=True)
class CodeLadder:
    """The funnel, and the faults that occurred, most frequent first."""

    figure: Figure
    failures: list[FailureCount]


def make_code_ladder(pairs: Sequence[tuple[Score, Score]]) -> CodeLadder | None:
    """None where no code question was asked. `pairs`: base and tuned."""
    own = [pair for pair in pairs if pair[0].kind == "code"]
    if not own:
        return None
    clusters = number_clusters([base.item for base, _ in own], [base.cluster for base, _ in own])
    bars = []
    for rung, name in RUNG_NAMES.items():
        sides = [
            estimate_proportion([float(read_rung(pair[side]) >= rung) for pair in own], clusters) for side in (0, 1)
        ]
        bars.append(BarPair(name, *sides))
    caption = f"Share of the answers to {len(own)} code questions that come so far. Lines are 95% intervals."
    return CodeLadder(Figure(draw_bars(bars, 1.0, {}), caption), count_failures(own))


def count_failures(pairs: Sequence[tuple[Score, Score]]) -> list[FailureCount]:
    base, tuned = (Counter(read_failure(pair[side]) for pair in pairs) for side in (0, 1))
    found = [
        FailureCount(failure.value, base[failure], tuned[failure])
        for failure in FailureClass
        if failure is not FailureClass.NONE and base[failure] + tuned[failure]
    ]
    return sorted(found, key=lambda each: -each.base - each.tuned)
