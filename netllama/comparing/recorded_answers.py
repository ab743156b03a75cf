"""The answers of a state of the experiment: of the workspace, an experiment, a branch, a tag or a commit."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from netllama.comparing.model_answers import Documents, RecordedAnswers
from netllama.core.errors import StageError
from netllama.core.files import has_findings, read_json, read_jsonl
from netllama.core.params import PARAMS, parse_yaml
from netllama.core.records import parse_as
from netllama.models.model_reference import ModelReference
from netllama.publishing.recorded_run import (
    RecordedStage,
    hash_as_dvc,
    read_recorded_hashes,
    read_recorded_stages,
    require_recorded_params,
)
from netllama.reading.reading_records import ReadingQuestion
from netllama.scoring.score import Score

ASKING = "evaluate"
"""The stage that asks a tuned model, with the params and the code that the base was asked with."""
CODE = ("netllama/", "testbed")
UNCONCERNED = ("contamination", "core", "documents", "novelty", "statistics")
"""Folders of netllama/ that decide neither an answer nor a score."""


@dataclass(frozen=True)
class StatePaths:
    """Where a state of the experiment has what is read of it."""

    base: Path
    """Scores of the base model, JSONL."""
    tuned: Path
    asked: Path
    """Questions with documents, JSONL; where they are missing, what was shown is not known."""
    weights: Path
    """The reference of the base model."""
    lock: Path
    """dvc.lock; where it is missing, params and code are not known."""


def read_workspace(name: str, paths: StatePaths) -> RecordedAnswers:
    """What lies there; it may be older than params.yaml, or not what dvc.lock records: then a remark says so."""
    state = read_state(name, paths, Path())
    return replace(state, remarks=_find_changes(paths)) if paths.lock.is_file() else state


def read_revision(revision: str, paths: StatePaths) -> RecordedAnswers:
    """The answers of an experiment, a branch, a tag or a commit, out of git and DVC's cache or default remote."""
    with tempfile.TemporaryDirectory() as folder:
        fetch_files(revision, (paths.weights, paths.base, paths.tuned), (paths.lock, paths.asked), Path(folder))
        try:
            return read_state(revision, paths, Path(folder))
        except StageError as error:
            first, *others = str(error).replace(f"{folder}/", f"{revision}: ").splitlines()
            more = f" (and {len(others)} more such lines)" if others else ""
            raise StageError(f"{first}{more}; other code may have written it") from None


def read_state(name: str, paths: StatePaths, folder: Path) -> RecordedAnswers:
    """The answers below `folder`; StageError where there are none, or where they can't be read."""
    for path in (paths.base, paths.tuned, paths.weights):
        if not (folder / path).is_file():
            raise StageError(f"{path}: not there; run `dvc repro`")
    base, tuned = (read_jsonl(folder / path, lambda row: parse_as(Score, row)) for path in (paths.base, paths.tuned))
    try:
        reference = ModelReference.model_validate(read_json(folder / paths.weights))
    except ValidationError:
        raise StageError(f"{folder / paths.weights}: not a model reference; run `dvc repro --force fetch`") from None
    state = RecordedAnswers(name, base, tuned, reference.id, _list_weights(reference))
    if (folder / paths.asked).is_file():
        questions = _read_questions(folder / paths.asked)
        shown: Documents = {(arm, question.id): ids for question in questions for arm, ids in question.arms.items()}
        state = replace(state, documents=shown)
    if (folder / paths.lock).is_file() and (stage := read_recorded_stages(folder / paths.lock).get(ASKING)):
        state = replace(state, params=_list_params(stage), code=_list_code(stage))
    return state


def _list_weights(reference: ModelReference) -> dict[str, str]:
    return {name: digest for name, digest in reference.files.items() if name.endswith(".safetensors")}


def _read_questions(path: Path) -> list[ReadingQuestion]:
    return read_jsonl(path, lambda row: parse_as(ReadingQuestion, row)) if has_findings(path) else []


def _list_params(stage: RecordedStage) -> dict[str, object]:
    return {name: value for name, value in stage.list_params().items() if not isinstance(value, dict)}


def _list_code(stage: RecordedStage) -> dict[str, str]:
    unconcerned = tuple(f"netllama/{name}" for name in UNCONCERNED)
    return {
        each.path: each.md5
        for each in stage.deps
        if each.path.startswith(CODE) and not each.path.startswith(unconcerned)
    }


def _find_changes(paths: StatePaths) -> list[str]:
    recorded = read_recorded_hashes(paths.lock)
    remarks = [
        f"{path} is not what {paths.lock} records: `dvc repro`."
        for path in (paths.base, paths.tuned)
        if recorded.get(path.as_posix()) != {hash_as_dvc(path)}
    ]
    match parse_yaml(PARAMS):
        case dict(sections):
            keys = {
                f"{name}.{key}": value
                for name, section in sections.items()
                if isinstance(section, dict)
                for key, value in section.items()
            }
            try:
                require_recorded_params(paths.lock, sections | keys)
            except StageError as error:
                remarks.append(f"The workspace's answers are older than its params: {error}.")
    return remarks


def fetch_files(revision: str, needed: Sequence[Path], welcome: Sequence[Path], folder: Path) -> None:
    """Copies of files as they were at `revision`, below `folder`; StageError for a `needed` one that can't be had."""
    # Here: importing DVC takes seconds, which nobody should wait for who mistyped an argument.
    from dvc.api import DVCFileSystem
    from dvc.scm import RevError

    logging.getLogger("dvc").setLevel(logging.CRITICAL)  # what it would say is said below
    try:
        files = DVCFileSystem(rev=revision)
        for path in (*needed, *welcome):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                files.get_file(path.as_posix(), str(target))
            except FileNotFoundError:
                if path in needed:
                    raise StageError(
                        f"{revision}: its {path} is neither in git nor in DVC's cache or default remote: it was not "
                        "evaluated, or on another machine (there: `dvc push` or `dvc exp push`)"
                    ) from None
    except StageError:
        raise
    except RevError:
        raise StageError(
            f"{revision}: no experiment, branch, tag or commit; `dvc exp list` names the experiments"
        ) from None
    except Exception as error:  # git's, DVC's and those of each remote's client
        raise StageError(f"{revision}: can't be read ({type(error).__name__}: {error})") from None
