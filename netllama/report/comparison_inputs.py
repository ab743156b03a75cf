"""Reads results/comparison.json: each suite's comparison, and what its row says besides."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from netllama.core.errors import StageError
from netllama.core.files import JsonObject, read_json
from netllama.statistics.verdicts import SuiteComparison

_COMPARISON = TypeAdapter(SuiteComparison)
_GUESSING = TypeAdapter(dict[str, float])
_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True)
class SuiteNote:
    """What a suite's verdict is to be read with."""

    whole: SuiteComparison
    """Of all its items."""
    clean: SuiteComparison | str
    """The comparison of its items that share no text with the training data, or why there is none; empty: not said."""
    guessing: dict[str, float]
    """What its questions score without knowledge, by the way of guessing; empty where they can't be guessed."""


def read_comparisons(path: Path) -> list[SuiteComparison]:
    """The rows that `as_rows` made; an end of an interval that JSON can't say is infinite."""
    return _read_rows(path, parse_comparison)


def read_suite_notes(path: Path) -> list[SuiteNote]:
    return _read_rows(path, parse_suite_note)


def parse_comparison(row: JsonObject) -> SuiteComparison:
    whole = dict(row)
    for side in ("base", "tuned", "difference"):
        ends: JsonObject = whole[side]
        low, high = (default if ends[end] is None else ends[end] for end, default in (("low", -inf), ("high", inf)))
        whole[side] = {**ends, "low": low, "high": high}
    if whole["detectable"] is None:
        whole["detectable"] = inf
    return _COMPARISON.validate_python(whole)


def parse_suite_note(row: JsonObject) -> SuiteNote:
    clean = row.get("clean", "")
    return SuiteNote(
        whole=parse_comparison(row),
        clean=clean if isinstance(clean, str) else parse_comparison(clean),
        guessing=_GUESSING.validate_python(row.get("guessing", {})),
    )


def _read_rows(path: Path, parse: Callable[[JsonObject], _Parsed]) -> list[_Parsed]:
    rows = read_json(path)
    if not isinstance(rows, list):
        raise StageError(f"{path}: not a list of suites; run `dvc repro evaluate`")
    return [_explain(path, number, partial(parse, row)) for number, row in enumerate(rows, 1)]


def _explain(path: Path, number: int, parse: Callable[[], _Parsed]) -> _Parsed:
    try:
        return parse()
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
    except (AttributeError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else "not a suite"
    raise StageError(f"{path}: suite {number}: {reason}; run `dvc repro evaluate`")
