"""Metrics files: a few numbers that DVC shows, and beside them all others.

DVC shows no number that lies inside a list, so `details` is a list of one object. Files of their own would have to be
outs that git keeps, and DVC's run cache leaves out stages with such outs: going back to values that ran before would
run them again.
"""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from netllama.core.errors import StageError
from netllama.core.files import read_json, write_json


def write_metrics(path: Path, shown: Mapping[str, float], details: Mapping[str, Any]) -> None:
    """`shown`: what `dvc metrics show` prints, by names that no other stage uses. `details`: numbers in groups."""
    write_json(path, {**shown, "details": [details]})


def read_details(path: Path) -> Any:
    """The details of a file that `write_metrics` wrote; StageError if they are not there."""
    match read_json(path):
        case {"details": [dict(details)]}:
            return details
    raise StageError(f"{path}: no details; run `dvc repro`, which writes it")


def read_numeric_details(path: Path) -> Any:
    """The details of a file in which each is a finite number, or a group of such; StageError if they are not."""
    details = read_details(path)
    if fault := _find_fault(details, []):
        raise StageError(f"{path}: details: {fault}; run `dvc repro`, which writes it")
    return details


def _find_fault(value: object, keys: list[str]) -> str:
    if isinstance(value, dict):
        return next(filter(None, (_find_fault(inner, [*keys, key]) for key, inner in value.items())), "")
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return "" if is_number else f"{'.'.join(keys)} is no number"
