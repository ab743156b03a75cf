"""Another tuned model beside this one: what both gained over the base, and which of them is better."""

from collections.abc import Sequence
from dataclasses import dataclass

from netllama.comparing.side_by_side import SideBySide, SuiteSides
from netllama.report.suite_charts import draw_differences, is_loss
from netllama.report.svg import Figure
from netllama.statistics.verdicts import VerdictSentences, write_sentences


@dataclass(frozen=True)
class BesidePart:
    """The part of the page."""

    other: str
    this: str
    suites: Sequence[SuiteSides]
    remarks: Sequence[str]
    sentences: VerdictSentences
    figures: list[Figure]


def make_beside_part(sides: SideBySide) -> BesidePart:
    named = f"{sides.this} - {sides.other}"
    between = [suite.between for suite in sides.suites]
    figures = []
    for losses, caption in ((False, f"Differences, {named}."), (True, f"Difference in nats a token, {named}.")):
        if own := [each for each in between if is_loss(each) == losses]:
            figures.append(Figure(draw_differences(own, named), f"{caption} Lines are 95% intervals."))
    return BesidePart(sides.other, sides.this, sides.suites, sides.remarks, write_sentences(between), figures)
