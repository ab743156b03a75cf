"""Somebody else's Alpaca-format file into instructions, and a list of the rows that are none.

A JSON array (`.json`), or one object a line (any other name): `instruction`, `output`, and, if you like, `input` and
`family`; other keys are left out. A bad row is dropped with its reason; a file of which most rows are bad is the
wrong file, and an error.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netllama.contamination.normalisation import exact
from netllama.core.errors import StageError
from netllama.core.files import canonical_json, read_text
from netllama.core.records import Instruction
from netllama.splitting.drops import Drop, Origin, Reason

FAMILY = "extra"
"""Of a row that names none."""
MOST = 0.5
"""A file with a larger share of bad rows is an error."""
SHOWN = 3
_FIELDS = ("instruction", "input", "output")
_BOM = b"\xef\xbb\xbf"
_NO_INPUT = "<noinput>"
_HALF_SURROGATE = re.compile("[\ud800-\udfff]")
# Templates of Alpaca, of Self-Instruct and of chat models: two tasks that ran into each other, or a raw prompt.
# `### Input:` and `### Output:` alone are headings that people write.
_MARKERS = re.compile(
    r"#{2,}\s*(?:instruction|response|human|assistant)\s*:"
    r"|\b\d+\s*\.\s*(?:instruction|input|output)\s*:"
    rf"|{_NO_INPUT}"
    r"|<\|(?:im_(?:start|end|sep)|(?:start|end)_header_id|eot_id|eom_id|(?:begin|end)_of_text|endoftext"
    r"|system|user|assistant|end|start|message|channel)\|>"
    r"|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
    r"|\bbelow is an instruction that describes a task\b",
    re.IGNORECASE,
)


class BadRow(ValueError):
    """A row that can't be used: the reason and what in particular."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason


@dataclass(frozen=True)
class Foreign:
    """What a file holds, each in the order of the file."""

    rows: list[tuple[Origin, Instruction]]
    drops: list[Drop]


def load_extra(path: Path) -> Foreign:
    """The file's instructions and bad rows; StageError where it is missing, broken as a whole, or mostly bad.

    An id is the file's name and a hash of the row: it stays the same wherever in the file the row stands.
    """
    foreign = Foreign([], [])
    for origin, raw in _items(path) if path.suffix == ".json" else _lines(path):
        try:
            row = instruction(path.stem, _parsed(raw) if isinstance(raw, bytes) else raw)
            foreign.rows.append((origin, row))
        except BadRow as error:
            foreign.drops.append(Drop(error.reason, str(error), origin=origin))
    bad, read = len(foreign.drops), len(foreign.drops) + len(foreign.rows)
    if bad > MOST * read:
        first = "; ".join(
            f"{drop.origin.unit} {drop.origin.number}: {drop.detail}" for drop in foreign.drops[:SHOWN] if drop.origin
        )
        raise StageError(f"{path}: {bad} of {read} rows are no instructions, is it the right file? {first}")
    return foreign


def instruction(stem: str, raw: object) -> Instruction:
    """One object of a file as a row of the pool; BadRow where it is none."""
    if not isinstance(raw, dict):
        raise BadRow("not_an_object", f"expected an object with {', '.join(_FIELDS)}, not {_short(raw)}")
    family = FAMILY if raw.get("family") is None else _text(raw, "family")
    fields = {name: "" if raw.get(name) is None else _text(raw, name) for name in _FIELDS}
    if fields["input"].strip().lower() == _NO_INPUT:
        fields["input"] = ""
    if not exact(fields["instruction"]):
        raise BadRow("no_instruction", "instruction: " + ("empty" if raw.get("instruction") else "missing or empty"))
    if not exact(fields["output"]):
        raise BadRow("no_output", "output: " + ("empty" if raw.get("output") else "missing or empty"))
    for name, text in [*fields.items(), ("family", family)]:
        if _HALF_SURROGATE.search(text):
            raise BadRow("half_surrogate", f"{name}: half a surrogate pair (\\ud800 to \\udfff) is no character")
        if "\0" in text:
            raise BadRow("nul", f"{name}: a NUL character")
        if name != "family" and (found := _MARKERS.search(text)):
            raise BadRow("prompt_leakage", f"{name}: {found[0]!r} is markup of a prompt")
    digest = hashlib.sha256(canonical_json(fields | {"family": family}).encode()).hexdigest()[:16]
    return Instruction(id=f"{stem}-{digest}", family=family, source="extra", **fields)


def _text(raw: dict[str, Any], name: str) -> str:
    value = raw[name]
    if not isinstance(value, str):
        raise BadRow("wrong_type", f"{name}: expected a text, not {_short(value)}")
    if name == "family" and not value.strip():
        raise BadRow("wrong_type", "family: empty")
    return value


def _lines(path: Path) -> Iterator[tuple[Origin, bytes]]:
    """Every line that holds something, undecoded: one that is not UTF-8 does not end the file."""
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                text = line.removeprefix(_BOM) if number == 1 else line
                if text.strip():
                    yield Origin(path.as_posix(), "line", number), text
    except FileNotFoundError:
        raise StageError(f"{path}: no such file") from None


def _items(path: Path) -> Iterator[tuple[Origin, object]]:
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


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRow("not_utf8", f"not UTF-8 at byte {error.start} of the line") from None
    except json.JSONDecodeError as error:
        raise BadRow("not_json", f"not valid JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 100,000 brackets
        raise BadRow("not_json", f"not valid JSON ({error})") from None


def _short(value: object) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."
