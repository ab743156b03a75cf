"""The answers of another state of the experiment: of an experiment, a branch, a tag or a commit."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from netllama.comparing.model_answers import RecordedAnswers
from netllama.core.errors import StageError
from netllama.core.files import has_findings, read_json, read_jsonl
from netllama.core.params import PARAMS, parse_yaml
from netllama.core.records import parse_as
from netllama.models.model_reference import ModelReference
from netllama.publishing.recorded_run import read_recorded_hashes
from netllama.reading.reading_records import ReadingQuestion
from netllama.scoring.score import Score

SCORING = ("code_checks", "code_tasks", "reading", "rendering", "scoring")
"""The folders of netllama/ with the code by which a model is asked and its answers are judged."""


@dataclass(frozen=True)
class StatePaths:
    """Where a state of the experiment has what is read of it."""

    base: Path
    """Scores of the base model, JSONL."""
    tuned: Path
    asked: Path
    """Questions with documents, JSONL."""
    weights: Path
    """The reference of the base model."""
    lock: Path
    """dvc.lock"""


def read_workspace(name: str, paths: StatePaths, folder: Path = Path()) -> RecordedAnswers:
    """The answers below `folder`; StageError where there are none, or where they can't be read."""
    for path in (paths.base, paths.tuned):
        if not (folder / path).is_file():
            raise StageError(f"{path}: not there; run `dvc repro`")
    base, tuned = (read_jsonl(folder / path, lambda row: parse_as(Score, row)) for path in (paths.base, paths.tuned))
    asked = folder / paths.asked
    questions = read_jsonl(asked, lambda row: parse_as(ReadingQuestion, row)) if has_findings(asked) else []
    reference = ModelReference.model_validate(read_json(folder / paths.weights))
    recorded = read_recorded_hashes(folder / paths.lock)
    return RecordedAnswers(
        name,
        base,
        tuned,
        documents={(arm, question.id): shown for question in questions for arm, shown in question.arms.items()},
        model=reference.id,
        weights={name: digest for name, digest in reference.files.items() if name.endswith(".safetensors")},
        params=_read_params(folder / PARAMS),
        code={name: " ".join(sorted(recorded.get(f"netllama/{name}", ()))) for name in SCORING},
    )


def _read_params(path: Path) -> dict[str, object]:
    """The section `evaluate` as it is written: another state may have other keys."""
    match parse_yaml(path):
        case {"evaluate": dict(section)}:
            return section
    return {}


def read_revision(revision: str, paths: StatePaths) -> RecordedAnswers:
    """The answers of an experiment, a branch, a tag or a commit, out of git and DVC's cache."""
    with tempfile.TemporaryDirectory() as folder:
        needed = (PARAMS, paths.lock, paths.weights, paths.asked, paths.base, paths.tuned)
        fetch_files(revision, needed, Path(folder))
        return read_workspace(revision, paths, Path(folder))


def fetch_files(revision: str, paths: Sequence[Path], folder: Path) -> None:
    """Copies of `paths` as they were at `revision`, below `folder`; StageError for one that can't be had."""
    # Here: importing DVC takes seconds, which nobody should wait for who mistyped an argument.
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.scm import RevError

    logging.getLogger("dvc").setLevel(logging.CRITICAL)  # what it would say is said below
    try:
        files = DVCFileSystem(rev=revision)
        for path in paths:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(path.as_posix(), str(target))
    except RevError:
        raise StageError(
            f"{revision}: no experiment, branch, tag or commit; `dvc exp list` names the experiments"
        ) from None
    except FileNotFoundError:
        raise StageError(
            f"{revision}: its {path} is neither in git nor in DVC's cache: it was not evaluated, or on another machine "
            f"(`git fetch`, then `dvc pull --rev`, or `dvc exp pull`)"
        ) from None
    except DvcException as error:
        raise StageError(f"{revision}: {error}") from None
