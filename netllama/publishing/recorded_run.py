"""dvc.lock: whether files and params are of one run, and the hashes of the data behind it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from netllama.core.errors import StageError
from netllama.core.files import read_text
from netllama.core.params import PARAMS, parse_yaml


class _Entry(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    path: str
    md5: str


class RecordedStage(BaseModel):
    """What a stage last ran with, and what it wrote."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    deps: list[_Entry] = []
    outs: list[_Entry] = []
    params: dict[str, dict[str, Any]] = {}
    """By file, then by section."""

    def list_params(self) -> dict[str, Any]:
        """Of params.yaml: the sections, and their keys with the section's name in front (`teacher.model_name`)."""
        sections = self.params.get(PARAMS.name, {})
        keys = {
            f"{name}.{key}": value
            for name, section in sections.items()
            if isinstance(section, dict)
            for key, value in section.items()
        }
        return sections | keys


class _Lock(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    stages: dict[str, RecordedStage]


def read_recorded_hashes(lock: Path) -> dict[str, set[str]]:
    """The MD5 of each dep and out that dvc.lock records, by path; two of a path: a stage has not run since."""
    hashes: dict[str, set[str]] = {}
    for stage in read_recorded_stages(lock).values():
        for entry in (*stage.deps, *stage.outs):
            hashes.setdefault(entry.path, set()).add(entry.md5)
    return hashes


def read_recorded_stages(lock: Path) -> dict[str, RecordedStage]:
    """By name; StageError for what is no lock file."""
    read_text(lock)  # its own line where there is none
    try:
        return _Lock.model_validate(parse_yaml(lock)).stages
    except (ValidationError, StageError):
        raise StageError(f"{lock}: not a lock file of DVC; run `dvc repro`") from None


def require_one_run(lock: Path, paths: Iterable[Path]) -> None:
    """StageError unless each of `paths` is as dvc.lock records it: then its numbers are those of its adapter."""
    recorded = read_recorded_hashes(lock)
    for path in paths:
        if not path.exists():
            raise StageError(f"{path}: not there; run `dvc repro`")
        if recorded.get(path.as_posix()) != {hash_as_dvc(path)}:
            raise StageError(
                f"{path}: not of the run that {lock} records, so its numbers may be another's; `dvc repro`"
            )


def require_recorded_params(lock: Path, params: Mapping[str, object]) -> None:
    """StageError where a stage ran with another value of one of `params`, which are named as in `teacher.model_name`.

    Of a param that no stage records nothing is said.
    """
    for name, stage in read_recorded_stages(lock).items():
        recorded = stage.list_params()
        for key, value in params.items():
            if key in recorded and recorded[key] != value:
                raise StageError(
                    f"{PARAMS}: {key} is {value!r}, and {lock} records that the stage {name} ran with "
                    f"{recorded[key]!r}; run `dvc repro`, or set it back"
                )


def list_data_hashes(lock: Path, folder: Path) -> dict[str, str]:
    """The MD5 of all that the run read or wrote in `folder`, by path; a folder's ends in .dir."""
    recorded = read_recorded_hashes(lock)
    return {path: " ".join(sorted(hashes)) for path, hashes in sorted(recorded.items()) if folder in Path(path).parents}


def hash_as_dvc(path: Path) -> str:
    """MD5 of a file; of a folder, that of its list of files with theirs (dvc-data, `Tree.as_bytes`)."""
    if not path.is_dir():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    rows = [{"md5": hash_as_dvc(file), "relpath": name} for name, file in sorted(files.items())]
    return hashlib.md5(json.dumps(rows, sort_keys=True).encode()).hexdigest() + ".dir"
