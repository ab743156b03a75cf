"""The report: one HTML file with base against tuned in words, charts and answers. It loads nothing from anywhere.

The same inputs give the same bytes. The Content-Security-Policy in its head holds the page to what it promises:
whatever an answer says, nothing is fetched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from netllama.comparing.side_by_side import SideBySide
from netllama.core.files import read_text
from netllama.report.answer_browser import embed_json, list_answers
from netllama.report.beside_part import make_beside_part
from netllama.report.code_ladder_figure import make_code_ladder
from netllama.report.line_charts import Curve, draw_curves, draw_reliability
from netllama.report.reading_part import make_reading_part
from netllama.report.report_inputs import ReportInputs, ReportPaths, read_inputs
from netllama.report.suite_charts import MARKS, WORDS, draw_differences, draw_scores, is_loss
from netllama.report.suite_checks import make_suite_checks
from netllama.report.svg import Figure
from netllama.scoring.comparison import ARM_NAMES, NAMES, name_suite
from netllama.scoring.score import GENERAL, Score
from netllama.statistics.calibration import ConfidenceBin, bin_confidences, compute_calibration_error
from netllama.statistics.intervals import IntervalEstimate
from netllama.statistics.verdicts import SuiteComparison, Verdict

HERE = Path(__file__).parent
VERDICTS: tuple[Verdict, ...] = ("better", "worse", "inconclusive")


@dataclass(frozen=True)
class ReliabilityTable:
    """The numbers of a reliability diagram."""

    kind: str
    rows: list[tuple[ConfidenceBin, ConfidenceBin]]
    """Base and tuned, of each bin that holds a question of either."""


def build_report(paths: ReportPaths, beside: SideBySide | None = None) -> str:
    """The whole page. StageError for a file that can't be read; one that is not there is left out, with a note.

    `beside`: the comparison with another tuned model, a section of its own.
    """
    inputs = read_inputs(paths)
    answers = list_answers(inputs.pairs, inputs.texts, inputs.shown)
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"interval": write_interval, "p_value": write_p_value}
    return (
        environment.get_template("page.html").render(
            style=Markup(read_text(HERE / "page.css")),
            script=Markup(read_text(HERE / "browser.js")),
            headline=write_headline(inputs.comparisons),
            groups=[(word, [each for each in inputs.comparisons if each.verdict == word]) for word in VERDICTS],
            comparisons=inputs.comparisons,
            marks=MARKS,
            words=WORDS,
            score_figures=make_score_figures(inputs),
            checks=make_suite_checks(inputs.suites),
            ladder=make_code_ladder(inputs.pairs),
            reading=make_reading_part(inputs.pairs, inputs.marks, inputs.refusals),
            beside=make_beside_part(beside) if beside else None,
            reliability=make_reliability(inputs.pairs),
            opinion=inputs.opinion,
            curves=make_curve_figures(inputs.curves),
            notes=inputs.notes,
            answers=answers,
            answers_json=embed_json(answers),
            kinds=sorted({answer.kind for answer in answers}),
            arms=[name for name in ARM_NAMES.values() if any(answer.arm == name for answer in answers)],
            families=sorted({answer.family for answer in answers}),
        )
        + "\n"
    )


def write_headline(comparisons: Sequence[SuiteComparison]) -> str:
    """How many suites got which verdict, in one sentence."""
    better, worse, open_ = (sum(each.verdict == word for each in comparisons) for word in VERDICTS)
    measured = f"{len(comparisons)} measurement{'s' * (len(comparisons) != 1)}"
    return (
        f"Of {measured}, the tuned model is better in {better or 'none'} and worse in {worse or 'none'}; "
        f"in {open_ or 'none'} it can't be told."
    )


def write_interval(estimate: IntervalEstimate, sign: bool = False) -> str:
    """0.240 (0.195 to 0.285)"""
    form = "+.3f" if sign else ".3f"
    return f"{estimate.value:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"


def write_p_value(p: float) -> str:
    """To four digits; what would be 0.0000 is less than that says."""
    return f"{p:.4f}" if p >= 0.0001 else "under 0.0001"


def make_score_figures(inputs: ReportInputs) -> list[Figure]:
    """Scores and losses apart, since a loss has a scale of its own."""
    chances = average_chances([tuned for _, tuned in inputs.pairs])
    scores = [each for each in inputs.comparisons if not is_loss(each)]
    losses = [each for each in inputs.comparisons if is_loss(each)]
    figures = []
    if scores:
        guess = " The dashed line is what guessing scores." if any(each.suite in chances for each in scores) else ""
        caption = f"Scores from 0 to 1, more is better. Lines are 95% intervals.{guess}"
        figures.append(Figure(draw_scores(scores, chances), caption))
        caption = "Differences, tuned - base. A line that crosses 0 can't be told from no difference."
        figures.append(Figure(draw_differences(scores), caption))
    if losses:
        caption = "Loss in nats a token, less is better. Lines are 95% intervals."
        figures.append(Figure(draw_scores(losses, {}), caption))
        figures.append(Figure(draw_differences(losses), "Difference in nats a token, tuned - base."))
    return figures


def average_chances(scores: Sequence[Score]) -> dict[str, float]:
    """What guessing scores on average, by suite; a suite of which an item doesn't say is left out."""
    suites: dict[str, list[float | None]] = {}
    for score in scores:
        suites.setdefault(name_suite(score), []).append(score.measures.get("chance"))
    known = {suite: [chance for chance in own if chance is not None] for suite, own in suites.items()}
    return {suite: mean(own) for suite, own in known.items() if len(own) == len(suites[suite])}


def make_reliability(pairs: Sequence[tuple[Score, Score]]) -> list[tuple[Figure, ReliabilityTable]]:
    """A diagram for each kind of closed question; general ones and those with documents are suites of their own."""
    made = []
    for kind in ("choice", "true_false"):
        own = [pair for pair in pairs if pair[0].kind == kind and pair[0].family != GENERAL and not pair[0].arm]
        own = [pair for pair in own if all("confidence" in score.measures for score in pair)]
        if own:
            base, tuned = (
                ([pair[side].measures["confidence"] for pair in own], [pair[side].value for pair in own])
                for side in (0, 1)
            )
            caption = (
                f"{NAMES[kind].capitalize()}, {len(own)} items. Points below the diagonal: surer than right. Expected "
                f"calibration error: base {compute_calibration_error(*base):.3f}, "
                f"tuned {compute_calibration_error(*tuned):.3f}."
            )
            bins = bin_confidences(*base), bin_confidences(*tuned)
            rows = [row for row in zip(*bins, strict=True) if row[0].questions or row[1].questions]
            made.append((Figure(draw_reliability(*bins), caption), ReliabilityTable(NAMES[kind], rows)))
    return made


def make_curve_figures(curves: dict[str, list[tuple[float, float]]]) -> list[Figure]:
    losses = []
    if "train_loss" in curves:
        losses.append(Curve("training", curves["train_loss"], "base"))
    if "val_loss" in curves:
        losses.append(Curve("validation", curves["val_loss"], "tuned"))
    figures = [Figure(draw_curves(losses, "step"), "Loss in nats a token.")] if losses else []
    for key, caption in (("learning_rate", "Learning rate."), ("grad_norm", "Norm of the gradient.")):
        if key in curves:
            name = key.replace("_", " ")
            figures.append(Figure(draw_curves([Curve(name, curves[key], "tuned")], "step"), caption))
    return figures
