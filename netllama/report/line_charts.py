"""Charts of points: the curves of a training run, and reliability diagrams."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from netllama.report.svg import (
    WIDTH,
    Scale,
    choose_ticks,
    draw_line,
    draw_text,
    draw_x_axis,
    draw_y_axis,
    make_chart,
    make_element,
)
from netllama.statistics.calibration import ConfidenceBin

LEFT, RIGHT, TOP, BOTTOM = 52.0, WIDTH - 14, 24.0, 226.0
HEIGHT = BOTTOM + 36
LARGEST = 9.0
"""Pixels from the middle of the mark of the fullest bin to its edge."""


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]
    """(x, y), by x; one or more."""
    style: Literal["base", "tuned"]
    """base: dashed with squares; tuned: solid with circles."""


def draw_curves(curves: Sequence[Curve], x_label: str) -> Markup:
    """Lines through the points of each curve, with a mark on each point."""
    points = [point for curve in curves for point in curve.points]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x_ticks, y_ticks = choose_ticks(min(xs), max(xs)), choose_ticks(min(ys), max(ys))
    x_scale = Scale(x_ticks[0], x_ticks[-1], LEFT, RIGHT)
    y_scale = Scale(y_ticks[0], y_ticks[-1], BOTTOM, TOP)
    drawn = draw_x_axis(x_scale, x_ticks, TOP, BOTTOM) + draw_y_axis(y_scale, y_ticks, LEFT, RIGHT)
    drawn += [*_draw_legend(curves), draw_text((LEFT + RIGHT) / 2, BOTTOM + 30, x_label, "tick", "middle")]
    for curve in curves:
        places = [(x_scale.place(x), y_scale.place(y)) for x, y in curve.points]
        drawn += [_draw_path(places, curve.style), *(_draw_mark(x, y, 2.5, curve.style) for x, y in places)]
    told = "; ".join(
        f"{curve.name}: {curve.points[0][1]:g} at {x_label} {curve.points[0][0]:g}, "
        f"{curve.points[-1][1]:g} at {curve.points[-1][0]:g}"
        for curve in curves
    )
    return make_chart(drawn, HEIGHT, f"Curves by {x_label}. {told}")


def draw_reliability(base: Sequence[ConfidenceBin], tuned: Sequence[ConfidenceBin]) -> Markup:
    """The accuracy of the questions of each bin by their mean confidence. The larger a mark, the more questions."""
    ticks = choose_ticks(0, 1)
    x_scale, y_scale = Scale(0, 1, LEFT, RIGHT), Scale(0, 1, BOTTOM, TOP)
    drawn = draw_x_axis(x_scale, ticks, TOP, BOTTOM) + draw_y_axis(y_scale, ticks, LEFT, RIGHT)
    drawn.append(draw_line(LEFT, BOTTOM, RIGHT, TOP, "zero"))
    drawn.append(draw_text((LEFT + RIGHT) / 2, BOTTOM + 30, "confidence; upwards: share right", "tick", "middle"))
    fullest = max((each.questions for each in (*base, *tuned)), default=0)
    told, curves = [], []
    sides: list[tuple[Literal["base", "tuned"], Sequence[ConfidenceBin]]] = [("base", base), ("tuned", tuned)]
    for name, bins in sides:
        filled = [each for each in bins if each.questions]
        points = [(each.confidence, each.accuracy) for each in filled]
        curves.append(Curve(name, points, name))
        places = [(x_scale.place(x), y_scale.place(y)) for x, y in points]
        drawn.append(_draw_path(places, name))
        for (x, y), each in zip(places, filled, strict=True):
            drawn.append(_draw_mark(x, y, max(2.0, LARGEST * (each.questions / fullest) ** 0.5), name))
        told.append(f"{name}: " + ", ".join(f"{each.accuracy:.2f} at {each.confidence:.2f}" for each in filled))
    return make_chart([*drawn, *_draw_legend(curves)], HEIGHT, f"Share right by confidence. {'; '.join(told)}")


def _draw_path(places: Sequence[tuple[float, float]], style: str) -> Markup:
    return make_element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in places), class_=f"path {style}")


def _draw_mark(x: float, y: float, size: float, style: str) -> Markup:
    """A circle, or a hollow square of the same extent."""
    if style == "tuned":
        return make_element("circle", cx=x, cy=y, r=size, class_="mark tuned")
    return make_element("rect", x=x - size, y=y - size, width=2 * size, height=2 * size, class_="mark base")


def _draw_legend(curves: Sequence[Curve]) -> list[Markup]:
    drawn = []
    for number, curve in enumerate(curves):
        x = LEFT + 8 + 130 * number
        drawn += [_draw_mark(x, 10, 4, curve.style), draw_text(x + 10, 14, curve.name, "tick")]
    return drawn
