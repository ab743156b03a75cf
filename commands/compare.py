"""Two trained models on the same questions: which one is better in what, and whether that can be told.

Reads  results/, data/retrieved/questions.jsonl, models/base.json and dvc.lock of both: of OTHER, and of THIS if it is
       given, out of git and DVC's cache or default remote; else those of the workspace
Writes with --report FILE: the report of the workspace, with a section on this comparison
Run    dvc exp run --temp -n plain -S retrieve.train_tasks=0 -S train.max_steps=120
       python -m commands.compare plain                  # that experiment against the workspace
       python -m commands.compare main my-branch
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from netllama.comparing.recorded_answers import StatePaths, read_revision, read_workspace
from netllama.comparing.side_by_side import SideBySide, SuiteSides, compare_models
from netllama.core.errors import run_stage
from netllama.core.files import write_text
from netllama.report.page import build_report
from netllama.report.suite_charts import MARKS, WORDS
from netllama.statistics.verdicts import SuiteComparison, write_sentences
from stages.report import PATHS, REPORT

STATE = StatePaths(
    base=PATHS.base,
    tuned=PATHS.tuned,
    asked=PATHS.asked,
    weights=Path("models/base.json"),
    lock=Path("dvc.lock"),
)
NAME, CELL = 46, 14


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the command line, which None stands for."""
    parser = argparse.ArgumentParser(
        description=__doc__, prog="python -m commands.compare", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", metavar="OTHER", help="an experiment, a branch, a tag or a commit")
    parser.add_argument("this", metavar="THIS", nargs="?", help="another one (default: the workspace)")
    parser.add_argument("--report", metavar="FILE", type=Path, help="write the workspace's report with this comparison")
    given = parser.parse_args(arguments)
    if "" in (given.other, given.this):
        parser.error("an empty name is no experiment, branch, tag or commit")
    if given.report and given.this:
        parser.error("--report is of the workspace: leave THIS out")
    if given.report and (given.report.is_dir() or given.report.resolve() == REPORT.resolve()):
        parser.error(f"--report {given.report}: name a file of its own, which may be written over")
    this = read_revision(given.this, STATE) if given.this else read_workspace("workspace", STATE)
    sides = compare_models(read_revision(given.other, STATE), this)
    if given.report:
        write_text(given.report, build_report(PATHS, sides))
    print(render_sides(sides))
    if given.report:
        print(f"report -> {given.report}")


def render_sides(sides: SideBySide) -> str:
    """A row a suite, what to know of the two, and what got better and worse in a sentence each."""
    names = [_cut(sides.other), _cut(sides.this)]
    heads = ["base", *(names if len(set(names)) == 2 else ("other", "this"))]
    rows = [f"{'':{NAME}}{'  '.join(name.rjust(CELL) for name in heads)}   difference (95% interval)"]
    rows += [_render_suite(suite) for suite in sides.suites]
    if any(suite.this for suite in sides.suites):
        rows.append(
            f"{MARKS['better']} better than the base, {MARKS['worse']} worse, {MARKS['inconclusive']} can't be told"
        )
    said = write_sentences([suite.between for suite in sides.suites])
    return "\n".join([*rows, "", *sides.remarks, f"From {sides.other} to {sides.this}:", said.better, said.worse])


def _render_suite(suite: SuiteSides) -> str:
    between = suite.between
    base = f"{suite.this.base.value:.3f}" if suite.this else "-"
    difference = f"{between.difference.value:+.3f} ({between.difference.low:+.3f} to {between.difference.high:+.3f})"
    cells = [
        base.rjust(CELL),
        _render_side(between.base.value, suite.other),
        _render_side(between.tuned.value, suite.this),
    ]
    return f"{between.suite:{NAME}}{'  '.join(cells)}   {difference} {WORDS[between.verdict]}"


def _render_side(value: float, gain: SuiteComparison | None) -> str:
    return f"{value:.3f} {MARKS[gain.verdict] if gain else ' '}".rjust(CELL)


def _cut(name: str) -> str:
    return name if len(name) <= CELL else name[: CELL - 1] + "…"


if __name__ == "__main__":
    run_stage(main)
