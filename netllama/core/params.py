"""params.yaml as a typed, frozen model: `load_params("lora", "model.precision")`.

The whole file is checked in one go and every problem is reported in one error, each with its key and
the nearest known key. What comes back holds only the sections (or single keys) that were asked for, so
that a stage cannot depend on a param that dvc.yaml does not declare.

Plain scalars and lists only: `dvc exp run -S` rewrites the file. The sections are in netllama/core/sections.py.
"""

import difflib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from pydantic import ValidationError

from netllama.core.errors import StageError
from netllama.core.files import read_text
from netllama.core.sections import Evaluate, Generate, Launch, Lora, Model, Section, Split, Tokenize, Train


class Params(Section):
    model: Model
    generate: Generate
    split: Split
    tokenize: Tokenize
    lora: Lora
    train: Train
    evaluate: Evaluate
    launch: Launch


def read_params(path: str | Path = "params.yaml") -> Params:
    """The whole file, checked. For tests and tools; a stage uses `load_params`."""
    try:
        raw = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise StageError(f"{where}: not valid YAML ({reason})") from None
    if not isinstance(raw, dict):
        raise StageError(f"{path}: expected the sections {', '.join(Params.model_fields)}")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = list(dict.fromkeys(_problem(item) for item in error.errors()))
        raise StageError(f"{path}: " + " | ".join(problems)) from None


def _problem(error: Any) -> str:
    """One line for one pydantic error: the dotted key, what is wrong, what was meant."""
    # A union adds the name of the branch that it tried to the location: keep what is a key of the file.
    keys = [str(part) for part in error["loc"][:2]]
    key = ".".join(keys)
    if error["type"] == "extra_forbidden":
        section = Params.model_fields.get(keys[0])
        known = list(Params.model_fields if len(keys) == 1 else section.annotation.model_fields)  # type: ignore[union-attr]
        near = difflib.get_close_matches(keys[-1], known, n=1, cutoff=0.0)
        return f"{key}: unknown key, nearest known is {'.'.join([*keys[:-1], *near])}"
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"] == "value_error":
        return f"{key}: {error['ctx']['error']}"
    if error["type"] == "model_type":
        return f"{key}: a section of keys is expected, not {error['input']!r}"
    if error["type"] == "too_short":
        return f"{key}: the list is empty"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{key}: {message}, not {error['input']!r}"


def load_params(*declared: str, path: str | Path = "params.yaml") -> Any:
    """The declared sections (`"lora"`) and keys (`"model.precision"`), and nothing else."""
    params = read_params(path)
    view = SimpleNamespace()
    for name in declared:
        section, _, key = name.partition(".")
        value = getattr(params, section)
        if key:
            partial = getattr(view, section, None) or SimpleNamespace()
            setattr(partial, key, getattr(value, key))
            value = partial
        setattr(view, section, value)
    return view
