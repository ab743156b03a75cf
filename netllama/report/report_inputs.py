"""Reads what the report is made of. What is not there is left out, and a note says what to run."""

import csv
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from netllama.core.errors import StageError
from netllama.core.files import read_json, read_jsonl, read_text
from netllama.core.records import load_instructions, load_questions, parse_as
from netllama.report.answer_browser import Shown, phrase_question, phrase_task
from netllama.report.comparison_inputs import SuiteNote, read_suite_notes
from netllama.report.reading_inputs import ReadingInputs, SearchMarks, read_marks, read_reading
from netllama.scoring.comparison import pair_scores
from netllama.scoring.program_texts import phrase_programs
from netllama.scoring.refusal_balance import RefusalBalance, read_balance
from netllama.scoring.score import Score
from netllama.statistics.verdicts import SuiteComparison


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
    asked: Path
    """Questions with documents, JSONL."""
    chunks: Path
    """The documents, JSONL."""
    search: Path
    """Metrics of what a search finds."""
    refusals: Path
    """How readily the tuned model refuses."""


@dataclass(frozen=True)
class ReportInputs:
    """What was found. Empty: it is not there, and `notes` say why."""

    suites: list[SuiteNote]
    pairs: list[tuple[Score, Score]]
    """Base and tuned."""
    opinion: list[str]
    """What a judging model said, in lines."""
    curves: dict[str, list[tuple[float, float]]]
    """(step, value) by the name of the value."""
    texts: dict[str, str]
    """What was asked, by item."""
    shown: Shown = field(default_factory=dict)
    """The documents that it was asked with."""
    marks: SearchMarks | None = None
    """Of the search for them; None: there was none."""
    refusals: RefusalBalance | None = None
    """How readily the tuned model refuses; None: as it does by itself."""
    notes: dict[str, list[str]] = field(default_factory=dict)
    """By the section that lacks something: verdicts, reading, answers, curves."""

    @property
    def comparisons(self) -> list[SuiteComparison]:
        return [note.whole for note in self.suites]


def read_inputs(paths: ReportPaths) -> ReportInputs:
    """Raises StageError for a file that is there but can't be read, or that does not belong to the others."""
    notes: dict[str, list[str]] = {"verdicts": [], "reading": [], "answers": [], "curves": []}
    suites: list[SuiteNote] = []
    texts: dict[str, str] = {}
    if _is_there(paths.comparison, "dvc repro evaluate", notes["verdicts"]):
        suites = read_suite_notes(paths.comparison)
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
    texts |= phrase_programs([tuned.item for _, tuned in pairs if tuned.kind == "program"])
    reading, marks, refusals = ReadingInputs(), None, None
    if any(base.arm for base, _ in pairs):
        asked = [_is_there(path, "dvc repro retrieve", notes["answers"]) for path in (paths.asked, paths.chunks)]
        reading = read_reading(paths.asked, paths.chunks) if all(asked) else reading
        if _is_there(paths.search, "dvc repro retrieve", notes["reading"]):
            marks = read_marks(paths.search)
        if _is_there(paths.refusals, "dvc repro evaluate", notes["reading"]):
            refusals = read_balance(paths.refusals)
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
        suites=suites,
        pairs=pairs,
        opinion=opinion,
        curves={name: curve for name, curve in curves.items() if curve},
        texts=reading.texts | texts,
        shown=reading.shown,
        marks=marks,
        refusals=refusals,
        notes=notes,
    )


def _is_there(path: Path, remedy: str, notes: list[str]) -> bool:
    if not path.exists():
        notes.append(f"{path} is not there: run `{remedy}`.")
    return path.exists()


def read_scores(path: Path) -> list[Score]:
    return read_jsonl(path, lambda row: parse_as(Score, row))


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
    rows = csv.DictReader(read_text(path).splitlines())
    try:
        for row in rows:
            step, value = float(row["step"]), float(row[name])
            if not isfinite(step):
                raise ValueError(step)
            if isfinite(value):
                points.append((step, value))
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        number = rows.line_num + isinstance(error, csv.Error)  # a line that is not parsed is not counted
        raise StageError(f"{path}:{number}: no number under step and {name}; run `dvc repro train`") from None
    return points
