"""Somebody else's Alpaca-format file into instructions, and a list of the rows that can't be used.

The file is a JSON array (`.json`), or has one object a line (any other name): `instruction`, `output` and, optionally,
`input` and `family`; other keys are ignored. A bad row is dropped with its reason. Where most rows are bad it is the
wrong file, which is an error.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netllama.contamination.normalisation import squeeze_text
from netllama.core.errors import StageError
from netllama.core.files import dump_canonical_json, read_text
from netllama.core.prompt_markup import drop_placeholder, find_prompt_markup
from netllama.core.records import Instruction
from netllama.splitting.drops import Drop, Origin, Reason
from netllama.splitting.pool_rows import PoolRow

FAMILY = "extra"
"""The family of a row that names none."""
MOST_BAD = 0.5
"""A file with a larger share of bad rows is an error."""
EXAMPLES = 3
"""How many bad rows that error shows."""
_FIELDS = ("instruction", "input", "output")
_BOM = b"\xef\xbb\xbf"
_HALF_SURROGATE = re.compile("[\ud800-\udfff]")


class BadRow(ValueError):
    """A row that can't be used: the reason and what in particular."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason


@dataclass(frozen=True)
class ForeignFile:
    """What a file holds, each in the order of the file."""

    rows: list[PoolRow]
    drops: list[Drop]


def load_extra(path: Path) -> ForeignFile:
    """The file's instructions and bad rows; StageError where it is missing, broken as a whole, or mostly bad.

    An id is the file's name and a hash of the row, so it stays the same wherever in the file the row stands.
    """
    found = ForeignFile([], [])
    for origin, raw in _read_array(path) if path.suffix == ".json" else _read_lines(path):
        try:
            row = read_instruction(path.stem, _parse_line(raw) if isinstance(raw, bytes) else raw)
            found.rows.append(PoolRow(row, origin))
        except BadRow as error:
            found.drops.append(Drop(error.reason, str(error), origin=origin))
    bad, read = len(found.drops), len(found.drops) + len(found.rows)
    if bad > MOST_BAD * read:
        examples = "; ".join(
            f"{drop.origin.unit} {drop.origin.number}: {drop.detail}" for drop in found.drops[:EXAMPLES] if drop.origin
        )
        raise StageError(f"{path}: {bad} of {read} rows are not valid instructions. Is this the right file? {examples}")
    return found


def read_instruction(stem: str, raw: object) -> Instruction:
    """One object of the file called `stem` as a row of the pool; BadRow where it can't be one."""
    if not isinstance(raw, dict):
        raise BadRow("not_an_object", f"expected an object with {', '.join(_FIELDS)}, not {_shorten_value(raw)}")
    family = FAMILY if raw.get("family") is None else _read_field(raw, "family")
    fields = {name: "" if raw.get(name) is None else _read_field(raw, name) for name in _FIELDS}
    fields["input"] = drop_placeholder(fields["input"])
    if not squeeze_text(fields["instruction"]):
        raise BadRow("no_instruction", "instruction: " + ("empty" if raw.get("instruction") else "missing or empty"))
    if not squeeze_text(fields["output"]):
        raise BadRow("no_output", "output: " + ("empty" if raw.get("output") else "missing or empty"))
    for name, text in [*fields.items(), ("family", family)]:
        if _HALF_SURROGATE.search(text):
            raise BadRow("half_surrogate", f"{name}: half a surrogate pair (\\ud800 to \\udfff) is not a character")
        if "\0" in text:
            raise BadRow("nul", f"{name}: contains a NUL character")
        if name != "family" and (found := find_prompt_markup(text)):
            raise BadRow("prompt_leakage", f"{name}: {found!r} is markup of a prompt")
    digest = hashlib.sha256(dump_canonical_json(fields | {"family": family}).encode()).hexdigest()[:16]
    return Instruction(id=f"{stem}-{digest}", family=family, source="extra", **fields)


def _read_field(raw: dict[str, Any], name: str) -> str:
    value = raw[name]
    if not isinstance(value, str):
        raise BadRow("wrong_type", f"{name}: expected a text, not {_shorten_value(value)}")
    if name == "family" and not value.strip():
        raise BadRow("wrong_type", "family: empty")
    return value


def _read_lines(path: Path) -> Iterator[tuple[Origin, bytes]]:
    """Every line that is not blank, still as bytes, so that a line that is not UTF-8 does not end the file."""
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                text = line.removeprefix(_BOM) if number == 1 else line
                if text.strip():
                    yield Origin(path.as_posix(), "line", number), text
    except FileNotFoundError:
        raise StageError(f"{path}: no such file") from None


def _read_array(path: Path) -> Iterator[tuple[Origin, object]]:
    try:
        array = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        hint = "; name it .jsonl if it has one object a line" if error.msg == "Extra data" else ""
        raise StageError(f"{path}:{error.lineno}: not valid JSON ({error.msg}){hint}") from None
    except (ValueError, RecursionError) as error:
        raise StageError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(array, list):
        raise StageError(f"{path}: expected a JSON array of objects; name it .jsonl if it has one object a line")
    for number, item in enumerate(array, start=1):
        yield Origin(path.as_posix(), "item", number), item


def _parse_line(line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRow("not_utf8", f"not UTF-8 at byte {error.start} of the line") from None
    except json.JSONDecodeError as error:
        raise BadRow("not_json", f"not valid JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 100,000 brackets
        raise BadRow("not_json", f"not valid JSON ({error})") from None


def _shorten_value(value: object) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."
