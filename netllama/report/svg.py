"""Pieces of SVG that every chart is made of: scales, ticks, elements. Pixels have one digit after the point.

Charts are 340 pixels wide, so that their letters are as large on a phone as on a desk. Colours are classes: the page's
style sheet says what they are by day and by night.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup, escape

WIDTH = 340.0
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Figure:
    """A chart with what is said below it."""

    chart: Markup
    caption: str


@dataclass(frozen=True)
class Scale:
    """Takes values from `low` to `high` to pixels from `start` to `end`; what lies beyond is put on the edge."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


def choose_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers, evenly apart, with at most `most` steps between `low` and `high`; the first and last enclose both.

    Ends that are as good as equal (labels have six digits) get room above them. Raises ValueError where `high` is less
    than `low`.
    """
    if high < low:
        raise ValueError(f"{low} to {high} is no range")
    largest = max(abs(low), abs(high))
    spread = high - low if high - low > 1e-4 * largest else largest or 1.0
    power: float = 10.0 ** floor(log10(spread / most))
    step = next(each * power for each in STEPS if each * power >= spread / most * (1 - 1e-9))
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [float(f"{place * step:.6g}") for place in range(first, max(last, first + 1) + 1)]


def make_element(name: str, content: str = "", **attributes: str | float) -> Markup:
    """An element; its text is escaped if it isn't Markup. `class_` stands for class, `text_anchor` for text-anchor."""
    parts = [Markup('{}="{}"').format(_name_attribute(key), _format(value)) for key, value in attributes.items()]
    return Markup("<{0}>{1}</{2}>").format(Markup(" ").join([Markup(name), *parts]), escape(content), Markup(name))


def _name_attribute(key: str) -> Markup:
    # viewBox is the only name with a capital; the others are separated by hyphens.
    return Markup(key.rstrip("_").replace("_", "-"))


def _format(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}"


def make_chart(content: Sequence[Markup], height: float, label: str) -> Markup:
    """`label` says in words what the picture shows, for those who don't see it."""
    return make_element(
        "svg",
        Markup("\n").join(["", *content, ""]),
        viewBox=f"0 0 {WIDTH:.0f} {height:.0f}",
        role="img",
        aria_label=label,
    )


def draw_text(x: float, y: float, text: str, class_: str = "label", anchor: str = "start") -> Markup:
    return make_element("text", text, x=x, y=y, class_=class_, text_anchor=anchor)


def draw_line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return make_element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def draw_x_axis(scale: Scale, ticks: Sequence[float], top: float, bottom: float) -> list[Markup]:
    """A line of the grid and a number for each tick."""
    drawn = []
    for tick in ticks:
        x = scale.place(tick)
        drawn += [draw_line(x, top, x, bottom, "grid"), draw_text(x, bottom + 14, f"{tick:g}", "tick", "middle")]
    return drawn


def draw_y_axis(scale: Scale, ticks: Sequence[float], left: float, right: float) -> list[Markup]:
    drawn = []
    for tick in ticks:
        y = scale.place(tick)
        drawn += [draw_line(left, y, right, y, "grid"), draw_text(left - 5, y + 4, f"{tick:g}", "tick", "end")]
    return drawn


def draw_interval(scale: Scale, low: float, high: float, y: float, class_: str = "whisker") -> list[Markup]:
    """A horizontal line from `low` to `high`, with a cap where an end lies on the chart."""
    line = draw_line(scale.place(low), y, scale.place(high), y, class_)
    caps = [
        draw_line(scale.place(end), y - 4, scale.place(end), y + 4, class_) for end in (low, high) if scale.holds(end)
    ]
    return [line, *caps]
