"""The charts' coordinates are the numbers."""

import itertools
import re
from math import inf
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.report.line_charts import Curve, draw_curves, draw_reliability
from netllama.report.suite_charts import draw_differences, draw_scores
from netllama.report.svg import Scale, choose_ticks, draw_text
from netllama.statistics.calibration import bin_confidences
from netllama.statistics.intervals import IntervalEstimate
from netllama.statistics.verdicts import SuiteComparison, Verdict

FINITE = st.floats(-1e6, 1e6).filter(lambda value: value == 0 or abs(value) > 1e-6)


def parse(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(chart)


def find(chart: str, name: str, class_: str) -> list[dict[str, str]]:
    return [element.attrib for element in parse(chart).iter(name) if element.attrib.get("class") == class_]


def compare(suite: str, base: float, tuned: float, half: float, verdict: Verdict) -> SuiteComparison:
    sides = [IntervalEstimate(value, value - half, value + half) for value in (base, tuned, tuned - base)]
    return SuiteComparison(suite, 100, 100, *sides, "mcnemar", 0.01, 0.02, 0.1, verdict)


def measure_axis(chart: str) -> tuple[float, float]:
    """(pixel at 0, pixels a unit), read off the ticks' labels below the chart."""
    labels = [element for element in parse(chart).iter("text") if element.attrib.get("class") == "tick"]
    numbers = [
        (float(str(each.text)), float(each.attrib["x"]))
        for each in labels
        if each.attrib["text-anchor"] == "middle" and re.fullmatch(r"-?[\d.e-]+", str(each.text))
    ]
    (low, start), (high, end) = numbers[0], numbers[-1]
    unit = (end - start) / (high - low)
    return start - low * unit, unit


@given(FINITE, FINITE)
def test_ticks_are_evenly_apart_and_enclose_the_range_closely(one: float, other: float) -> None:
    low, high = sorted((one, other))
    ticks = choose_ticks(low, high)
    step = ticks[1] - ticks[0]
    assert 2 <= len(ticks) <= 7
    assert all(b - a == pytest.approx(step, rel=1e-2) for a, b in itertools.pairwise(ticks))
    assert low - step * 1.01 <= ticks[0] <= low + step * 1e-2
    assert high - step * 1e-2 <= ticks[-1] <= high + step * 1.01


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (2, 2, [2, 2.5]),
        (2.5, 2.5 + 1e-9, [2.5, 3]),
        (0, 0, [0, 0.2]),
        (2e-5, 1e-3, [0, 2e-4, 4e-4, 6e-4, 8e-4, 1e-3]),
        (-0.3, 0.12, [-0.3, -0.2, -0.1, 0, 0.1, 0.2]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert choose_ticks(low, high) == ticks


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no range"):
        choose_ticks(1, 0)


@given(st.floats(-10, 10))
def test_a_scale_is_linear_and_ends_at_its_edges(value: float) -> None:
    scale = Scale(-1, 3, 20, 100)
    assert scale.place(value) == pytest.approx(min(max(20 + (value + 1) * 20, 20), 100))
    assert scale.holds(value) == (-1 <= value <= 3)


def test_bars_and_intervals_are_as_long_as_the_scores() -> None:
    chart = draw_scores(
        [compare("blanks", 0.25, 0.5, 0.1, "better"), compare("open", 0.8, 0.7, 0.05, "worse")], {"blanks": 0.2}
    )
    start, unit = measure_axis(chart)
    for name, values in (("base", (0.25, 0.8)), ("tuned", (0.5, 0.7))):
        bars = find(chart, "rect", f"bar {name}")
        assert [float(bar["x"]) for bar in bars] == [start] * 2
        assert [float(bar["width"]) for bar in bars] == pytest.approx([value * unit for value in values], abs=0.06)
    spans = [line for line in find(chart, "line", "whisker") if line["y1"] == line["y2"]]
    ends = [0.15, 0.35, 0.4, 0.6, 0.75, 0.85, 0.65, 0.75]
    found = [float(line[key]) for line in spans for key in ("x1", "x2")]
    assert found == pytest.approx([start + end * unit for end in ends], abs=0.06)
    [chance] = find(chart, "line", "chance")
    assert float(chance["x1"]) == pytest.approx(start + 0.2 * unit, abs=0.06)


def test_a_loss_has_an_axis_that_holds_its_interval() -> None:
    chart = draw_scores([compare("loss on held-out answers", 3.0, 2.5, 0.2, "better")], {})
    _start, unit = measure_axis(chart)
    [base] = find(chart, "rect", "bar base")
    assert float(base["width"]) == pytest.approx(3 * unit, abs=0.06)
    assert len(find(chart, "line", "whisker")) == 6


def test_differences_stand_left_and_right_of_zero_with_their_verdicts_in_words() -> None:
    rows = [
        compare("blanks", 0.2, 0.5, 0.1, "better"),
        compare("open", 0.5, 0.4, 0.05, "worse"),
        compare("true/false questions", 0.5, 0.52, 0.1, "inconclusive"),
    ]
    chart = draw_differences(rows)
    start, unit = measure_axis(chart)
    for row in rows:
        [dot] = find(chart, "circle", f"dot {row.verdict}")
        assert float(dot["cx"]) == pytest.approx(start + row.difference.value * unit, abs=0.06)
    texts = [text.text for text in parse(chart).iter("text")]
    assert {"▲ better", "▼ worse", "○ can't be told", "more is better →"} <= set(texts)


def test_an_interval_without_ends_reaches_the_edges_and_has_no_caps() -> None:
    endless = IntervalEstimate(0.1, -inf, inf)
    row = SuiteComparison("blanks", 3, 1, endless, endless, endless, "mcnemar", 1, 1, inf, "inconclusive")
    for chart in (draw_differences([row]), draw_scores([row], {})):
        assert all(line["y1"] == line["y2"] for line in find(chart, "line", "whisker"))
        assert "inf" not in "".join(chart.split("aria-label")[0])
        assert "nan" not in chart


def test_curves_pass_through_their_points() -> None:
    chart = draw_curves([Curve("training", [(0, 2.0), (10, 1.0), (20, 1.5)], "base")], "step")
    start, unit = measure_axis(chart)
    [path] = find(chart, "polyline", "path base")
    places = [tuple(map(float, place.split(","))) for place in path["points"].split()]
    assert [x for x, _ in places] == pytest.approx([start, start + 10 * unit, start + 20 * unit], abs=0.06)
    (_, top), (_, bottom), (_, middle) = places
    assert top < middle < bottom
    assert middle == pytest.approx((top + bottom) / 2, abs=0.1)


def test_a_curve_of_one_point_is_a_mark() -> None:
    assert len(find(draw_curves([Curve("validation", [(0, 2.0)], "tuned")], "step"), "circle", "mark tuned")) == 2


def test_reliability_marks_have_areas_in_proportion_to_their_questions() -> None:
    bins = bin_confidences([0.25] * 4 + [0.95] * 16, [1, 0, 0, 0] + [1] * 12 + [0] * 4)
    chart = draw_reliability(bins, bins)
    few, many, _ = find(chart, "circle", "mark tuned")
    assert float(many["r"]) == pytest.approx(2 * float(few["r"]), abs=0.06)
    [diagonal] = find(chart, "line", "zero")
    x1, y1, x2, y2 = (float(diagonal[key]) for key in ("x1", "y1", "x2", "y2"))
    assert float(few["cx"]) == pytest.approx(x1 + 0.25 * (x2 - x1), abs=0.06)
    assert float(few["cy"]) == pytest.approx(y1 + 0.25 * (y2 - y1), abs=0.06)
    assert float(many["cy"]) == pytest.approx(y1 + 0.75 * (y2 - y1), abs=0.06)


def test_a_text_in_a_chart_is_escaped() -> None:
    assert draw_text(0, 0, 'a < b & "c" </svg><script>').count("<") == 2
