"""Charts of the suites: the scores of both models with their intervals, and the differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from markupsafe import Markup

from netllama.report.svg import (
    WIDTH,
    Scale,
    choose_ticks,
    draw_interval,
    draw_line,
    draw_text,
    draw_x_axis,
    make_chart,
    make_element,
)
from netllama.scoring.comparison import NAMES
from netllama.statistics.intervals import IntervalEstimate
from netllama.statistics.verdicts import SuiteComparison

LEFT, RIGHT = 46.0, WIDTH - 46
ROW, BAR = 66.0, 16.0
DIFFERENCE_ROW = 46.0
MARKS = {"better": "▲", "worse": "▼", "inconclusive": "○"}
"""A shape for each verdict, so that colours are not all there is."""
WORDS = {"better": "better", "worse": "worse", "inconclusive": "can't be told"}


@dataclass(frozen=True)
class BarPair:
    """Two bars below a name."""

    name: str
    base: IntervalEstimate
    tuned: IntervalEstimate


def is_loss(comparison: SuiteComparison) -> bool:
    """Whether less is better, on a scale without an upper end."""
    return comparison.suite == NAMES["heldout"]


def draw_scores(comparisons: Sequence[SuiteComparison], chances: Mapping[str, float]) -> Markup:
    """Two bars a suite, with 95% intervals, from 0 to 1 or, of losses, to what the longest needs.

    `chances`: what guessing scores, by suite, where that is known; a dashed line.
    """
    ends = [end for each in comparisons for side in (each.base, each.tuned) for end in (side.value, side.high)]
    longest = max(end for end in ends if isfinite(end)) if any(is_loss(each) for each in comparisons) else 1.0
    return draw_bars([BarPair(each.suite, each.base, each.tuned) for each in comparisons], longest, chances)


def draw_bars(pairs: Sequence[BarPair], longest: float, chances: Mapping[str, float]) -> Markup:
    """Two bars for each pair, with 95% intervals, on an axis from 0 to `longest` or a little more."""
    ticks = choose_ticks(0, longest)
    scale = Scale(ticks[0], ticks[-1], LEFT, RIGHT)
    bottom = len(pairs) * ROW + 4
    drawn = draw_x_axis(scale, ticks, 4, bottom)
    for number, each in enumerate(pairs):
        top = number * ROW
        drawn.append(draw_text(4, top + 18, each.name, "name"))
        drawn += _draw_bar(scale, top + 26, each.base, "base") + _draw_bar(scale, top + 44, each.tuned, "tuned")
        if (chance := chances.get(each.name)) is not None:
            x = scale.place(chance)
            drawn.append(draw_line(x, top + 24, x, top + 62, "chance"))
    told = "; ".join(f"{each.name}: base {each.base.value:.3f}, tuned {each.tuned.value:.3f}" for each in pairs)
    return make_chart(drawn, bottom + 20, f"Bars with 95% intervals. {told}")


def _draw_bar(scale: Scale, top: float, side: IntervalEstimate, name: Literal["base", "tuned"]) -> list[Markup]:
    start = scale.place(0)
    width = scale.place(side.value) - start
    return [
        draw_text(LEFT - 5, top + 12, name, "tick", "end"),
        make_element("rect", x=start, y=top, width=width, height=BAR, class_=f"bar {name}"),
        *draw_interval(scale, side.low, side.high, top + BAR / 2),
        draw_text(RIGHT + 5, top + 12, f"{side.value:.3f}", "tick"),
    ]


def draw_differences(comparisons: Sequence[SuiteComparison], named: str = "tuned - base") -> Markup:
    """The difference of each suite with its 95% interval, around a line at 0, and the verdict's mark and word.

    `named`: what is subtracted from what.
    """
    ends = [end for each in comparisons for end in (each.difference.value, each.difference.low, each.difference.high)]
    reach = max((abs(end) for end in ends if isfinite(end)), default=0) or 1.0
    ticks = choose_ticks(-reach, reach, most=4)
    scale = Scale(ticks[0], ticks[-1], 16, WIDTH - 16)
    bottom = len(comparisons) * DIFFERENCE_ROW + 4
    drawn = draw_x_axis(scale, ticks, 4, bottom)
    drawn.append(draw_line(scale.place(0), 4, scale.place(0), bottom, "zero"))
    for number, each in enumerate(comparisons):
        top = number * DIFFERENCE_ROW
        drawn.append(draw_text(4, top + 18, each.suite, "name"))
        verdict = f"{MARKS[each.verdict]} {WORDS[each.verdict]}"
        drawn.append(draw_text(WIDTH - 4, top + 18, verdict, f"verdict {each.verdict}", "end"))
        y = top + 34
        drawn += draw_interval(scale, each.difference.low, each.difference.high, y)
        drawn.append(
            make_element("circle", cx=scale.place(each.difference.value), cy=y, r=4.5, class_=f"dot {each.verdict}")
        )
    less = any(is_loss(each) for each in comparisons)
    drawn.append(
        draw_text(WIDTH / 2, bottom + 30, "← less is better" if less else "more is better →", "tick", "middle")
    )
    told = "; ".join(f"{each.suite}: {each.difference.value:+.3f}, {WORDS[each.verdict]}" for each in comparisons)
    return make_chart(drawn, bottom + 36, f"Differences {named} with 95% intervals. {told}")
