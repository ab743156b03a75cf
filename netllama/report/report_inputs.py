"""Reads what the report is made of. What is not there is left out, and a note says what to run."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf, isfinite
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from netllama.core.errors import StageError
from netllama.core.files import JsonObject, read_json, read_jsonl, read_text
from netllama.core.records import load_instructions, load_questions, parse_as
from netllama.report.answer_browser import phrase_question, phrase_task
from netllama.scoring.comparison import pair_scores
from netllama.scoring.score import Score
from netllama.statistics.verdicts import SuiteComparison

_COMPARISON = TypeAdapter(SuiteComparison)


@dataclass(frozen=True)
class ReportPaths:
    """Where the parts of the report are. Those that are not there are left out of it."""

    base: Path
    """Scores of the base model, JSONL."""
    tuned: Path
    comparison: Path
    judge: Path
    """What a judging model said, where one was asked."""
    train_loss: Path
    """CSV: step, and what the name says."""
    val_loss: Path
    learning_rate: Path
    grad_norm: Path
    questions: Path
    """The folder of the suites."""
    tasks: Path
    """The test side of the split: what was asked where an answer is written in full."""


@dataclass(frozen=True)
class ReportInputs:
    """What was found. Empty: it is not there, and `notes` say why."""

    comparisons: list[SuiteComparison]
    pairs: list[tuple[Score, Score]]
    """Base and tuned."""
    opinion: list[str]
    """What a judging model said, in lines."""
    curves: dict[str, list[tuple[float, float]]]
    """(step, value) by the name of the value."""
    texts: dict[str, str]
    """What was asked, by item."""
    notes: dict[str, list[str]] = field(default_factory=dict)
    """By the section that lacks something: verdicts, answers, curves."""


def read_inputs(paths: ReportPaths) -> ReportInputs:
    """Raises StageError for a file that is there but can't be read, or that does not belong to the others."""
    notes: dict[str, list[str]] = {"verdicts": [], "answers": [], "curves": []}
    comparisons: list[SuiteComparison] = []
    texts: dict[str, str] = {}
    if _is_there(paths.comparison, "dvc repro evaluate", notes["verdicts"]):
        comparisons = read_comparisons(paths.comparison)
    # Not `and`: each file that is missing has its note.
    asked = [
        _is_there(paths.base, "dvc repro baseline", notes["answers"]),
        _is_there(paths.tuned, "dvc repro evaluate", notes["answers"]),
    ]
    pairs = pair_scores(read_scores(paths.base), read_scores(paths.tuned)) if all(asked) else []
    if pairs and _is_there(paths.questions, "git checkout data/questions", notes["answers"]):
        texts |= {question.id: phrase_question(question) for question in load_questions(paths.questions)}
    if pairs and _is_there(paths.tasks, "dvc repro split", notes["answers"]):
        texts |= {task.id: phrase_task(task) for task in load_instructions(paths.tasks)}
    curves = {}
    for path, name in (
        (paths.train_loss, "loss"),
        (paths.val_loss, "loss"),
        (paths.learning_rate, "learning_rate"),
        (paths.grad_norm, "grad_norm"),
    ):
        if _is_there(path, "dvc repro train", notes["curves"]):
            curves[path.stem] = read_curve(path, name)
            if not curves[path.stem]:
                notes["curves"].append(f"{path} holds no number: this run measured none.")
    opinion = read_opinion(paths.judge) if paths.judge.exists() else []
    return ReportInputs(
        comparisons, pairs, opinion, {name: curve for name, curve in curves.items() if curve}, texts, notes
    )


def _is_there(path: Path, remedy: str, notes: list[str]) -> bool:
    if not path.exists():
        notes.append(f"{path} is not there: run `{remedy}`.")
    return path.exists()


def read_scores(path: Path) -> list[Score]:
    return read_jsonl(path, lambda row: parse_as(Score, row))


def read_comparisons(path: Path) -> list[SuiteComparison]:
    """The rows that `as_rows` made; an end of an interval that JSON can't say is infinite."""
    rows = read_json(path)
    if not isinstance(rows, list):
        raise StageError(f"{path}: not a list of suites; run `dvc repro evaluate`")
    return [_explain(path, number, partial(parse_comparison, row)) for number, row in enumerate(rows, 1)]


def parse_comparison(row: JsonObject) -> SuiteComparison:
    whole = dict(row)
    for side in ("base", "tuned", "difference"):
        ends: JsonObject = whole[side]
        low, high = (default if ends[end] is None else ends[end] for end, default in (("low", -inf), ("high", inf)))
        whole[side] = {**ends, "low": low, "high": high}
    if whole["detectable"] is None:
        whole["detectable"] = inf
    return _COMPARISON.validate_python(whole)


def _explain(path: Path, number: int, parse: Callable[[], SuiteComparison]) -> SuiteComparison:
    try:
        return parse()
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
    except (KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else "not a suite"
    raise StageError(f"{path}: suite {number}: {reason}; run `dvc repro evaluate`")


def read_opinion(path: Path) -> list[str]:
    match read_json(path):
        case {"enabled": False}:
            return []
        case {"enabled": True, "said": [*lines]} if all(isinstance(line, str) for line in lines):
            return [line.removeprefix("judge: ") for line in lines]
    raise StageError(f"{path}: no sentences of a judge; run `dvc repro judge`")


def read_curve(path: Path, name: str) -> list[tuple[float, float]]:
    """(step, value) of each line whose value is finite."""
    points = []
    for number, row in enumerate(csv.DictReader(read_text(path).splitlines()), 2):
        try:
            point = float(row["step"]), float(row[name])
        except (KeyError, TypeError, ValueError):
            raise StageError(f"{path}:{number}: no number under step and {name}; run `dvc repro train`") from None
        if isfinite(point[1]):
            points.append(point)
    return points
