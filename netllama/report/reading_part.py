"""Questions with documents: what both models say with and without them, beside what needs no model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netllama.reading.reading_records import ARMS, Arm
from netllama.report.reading_inputs import SearchMarks
from netllama.report.suite_charts import BarPair, draw_bars
from netllama.report.svg import Figure
from netllama.scoring.comparison import ARM_NAMES, Pair
from netllama.scoring.reading_summary import is_holding, is_lacking
from netllama.scoring.refusal_balance import RefusalBalance
from netllama.scoring.score import Score
from netllama.statistics.intervals import IntervalEstimate, estimate_proportion
from netllama.statistics.paired_scores import number_clusters


@dataclass(frozen=True)
class ReadingMeasure:
    """A share of the answers on network reports, of both models."""

    name: str
    answers: int
    base: IntervalEstimate
    tuned: IntervalEstimate


@dataclass(frozen=True)
class ReadingPart:
    """The part of the page."""

    figure: Figure
    measures: list[ReadingMeasure]
    marks: SearchMarks | None
    """None: nothing was searched."""
    refusals: RefusalBalance | None
    """How readily the tuned model refuses; None: as it does by itself."""


def make_reading_part(
    pairs: Sequence[Pair], marks: SearchMarks | None, refusals: RefusalBalance | None = None
) -> ReadingPart | None:
    """None where no question on reports was asked. `pairs`: base and tuned."""
    own = [pair for pair in pairs if pair[0].kind == "report"]
    if not own:
        return None
    refusing = measure_refusals(own)
    measures = [*measure_arms(own), *refusing, *measure_slots(own)]
    bars = [BarPair(each.name, each.base, each.tuned) for each in refusing]
    caption = "Network reports: shares of the answers. Lines are 95% intervals. Of false refusals fewer are better."
    return ReadingPart(Figure(draw_bars(bars, 1.0, {}), caption), measures, marks, refusals)


def measure_arms(pairs: Sequence[Pair]) -> list[ReadingMeasure]:
    names: dict[Arm, str] = {arm: f"right {ARM_NAMES[arm]}" for arm in ARMS} | {
        "absent": "right where no report answers"
    }
    return _measure_all(
        [(name, [pair for pair in pairs if pair[0].arm == arm], _read_value) for arm, name in names.items()]
    )


def measure_refusals(pairs: Sequence[Pair]) -> list[ReadingMeasure]:
    held = [pair for pair in pairs if is_holding(pair[0])]
    lacked = [pair for pair in pairs if is_lacking(pair[0])]
    return _measure_all(
        [
            ("right refusals: no document says it", lacked, lambda score: score.measures["refused"]),
            ("false refusals: a document says it", held, lambda score: score.measures["refused"]),
            ("cites the right document", held, lambda score: score.measures["cites_golden"]),
        ]
    )


def measure_slots(pairs: Sequence[Pair]) -> list[ReadingMeasure]:
    """Of the arm `retrieved`, by the number of the document that holds the answer."""
    held = [pair for pair in pairs if is_holding(pair[0]) and pair[0].arm == "retrieved"]
    slots = sorted({int(base.measures["slot"]) for base, _ in held})
    return _measure_all(
        [
            (
                f"right where document {slot} says it",
                [pair for pair in held if pair[0].measures["slot"] == slot],
                _read_value,
            )
            for slot in slots
        ]
    )


def _read_value(score: Score) -> float:
    return score.value


def _measure_all(asked: Sequence[tuple[str, Sequence[Pair], Callable[[Score], float]]]) -> list[ReadingMeasure]:
    """A share for each that there are answers of."""
    made = []
    for name, own, read in asked:
        if own:
            clusters = number_clusters([base.item for base, _ in own], [base.cluster for base, _ in own])
            base, tuned = (estimate_proportion([read(pair[side]) for pair in own], clusters) for side in (0, 1))
            made.append(ReadingMeasure(name, len(own), base, tuned))
    return made
