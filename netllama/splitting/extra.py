"""Somebody else's file into instructions, a list of the rows that can't be used, and a count of what was left of them.

foreign_files.py says which files are read, foreign_formats.py which formats. A bad row is dropped with its reason.
Where most rows are bad it is the wrong file, which is an error.
"""

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from netllama.contamination.normalisation import squeeze_text
from netllama.core.errors import StageError
from netllama.core.files import JsonObject, dump_canonical_json, load_all
from netllama.core.noncharacters import find_noncharacter
from netllama.core.prompt_markup import drop_placeholder, find_prompt_markup, strip_sequence_marks
from netllama.core.records import Instruction
from netllama.splitting.drops import BadRow, Drop, Reason, shorten_value
from netllama.splitting.foreign_files import name_rows, parse_line, read_rows
from netllama.splitting.foreign_formats import Turn, read_turn
from netllama.splitting.pool_rows import PoolRow

FAMILY = "extra"
"""The family of a row that names none."""
MOST_BAD = 0.5
"""A file with a larger share of bad rows is an error."""
MOST_CHARACTERS = 2_000_000
"""Of a row. Some 500,000 tokens are more than models are trained on; comparing a row takes time that grows with it."""
EXAMPLES = 3
"""How many bad rows that error shows."""
_FIELDS = ("instruction", "input", "output")
_FIELD_NAMES = set(Instruction.model_fields)
_HALF_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass
class Reading:
    """How the rows of a file were read, and what of them was not taken as it is."""

    file: str
    formats: Counter[str] = field(default_factory=Counter)
    """Rows by format."""
    cut: int = 0
    """Rows that are the first turn of a longer conversation."""
    messages_left: int = 0
    """The messages of these that are not taken."""
    systems: int = 0
    """Rows whose system text stands in front of the instruction."""
    marks: int = 0
    """Rows without the marks of begin and end that stood around a text."""

    def count(self) -> dict[str, object]:
        """What metrics/split.json says of the file."""
        return {
            "formats": dict(self.formats),
            "cut_to_first_turn": self.cut,
            "messages_left_out": self.messages_left,
            "with_system": self.systems,
            "without_marks": self.marks,
        }

    def describe(self) -> Iterator[str]:
        """A line, if there is anything to say."""
        notes = []
        if self.cut:
            notes.append(f"{self.cut} cut to the first turn, {self.messages_left} messages are left out")
        if self.systems:
            notes.append(f"{self.systems} with a system text, which stands in front of the instruction")
        if self.marks:
            notes.append(f"{self.marks} without the <s>, </s>, <bos> or <eos> around a text")
        if notes or set(self.formats) - {"Alpaca"}:
            formats = ", ".join(f"{number} {name}" for name, number in self.formats.most_common())
            yield f"{self.file}: rows: {'; '.join([formats, *notes])}"


@dataclass(frozen=True)
class ForeignFile:
    """What a file holds, each in the order of the file."""

    rows: list[PoolRow]
    drops: list[Drop]
    reading: Reading


def load_files(folder: Path, names: Sequence[str]) -> list[ForeignFile]:
    """The files `names` (`split.extra`) of the folder; the error says what is wrong with each of them."""
    for name in names:
        if Path(name).name != name or name == "..":
            raise StageError(f"split.extra: {name}: put the file into {folder}/, which is hashed, and give its name")
    if twins := [stem for stem, number in Counter(map(name_rows, names)).items() if number > 1]:
        raise StageError(f"split.extra: two files are called {twins[0]}: ids come from the name, so rename one")
    return load_all([partial(load_extra, folder / name) for name in names])


def load_extra(path: Path) -> ForeignFile:
    """The file's instructions and bad rows; StageError where it is missing, broken as a whole, or mostly bad.

    An id is the file's name and a hash of the row, so it stays the same wherever in the file the row stands.
    """
    found = ForeignFile([], [], Reading(path.as_posix()))
    for origin, raw in read_rows(path):
        try:
            value = parse_line(raw) if isinstance(raw, bytes) else raw
            found.rows.append(PoolRow(read_instruction(name_rows(path.name), value, found.reading), origin))
        except BadRow as error:
            found.drops.append(Drop(error.reason, str(error), origin=origin))
    bad, read = len(found.drops), len(found.drops) + len(found.rows)
    if not read:
        raise StageError(f"{path}: has no rows; put some into it, or take it out of split.extra")
    if bad > MOST_BAD * read:
        examples = "; ".join(
            f"{drop.origin.unit} {drop.origin.number}: {drop.detail}" for drop in found.drops[:EXAMPLES] if drop.origin
        )
        raise StageError(f"{path}: {bad} of {read} rows are not valid instructions. Is this the right file? {examples}")
    return found


def read_instruction(stem: str, raw: object, reading: Reading) -> Instruction:
    """One object of the file called `stem` as a row of the pool, counted in `reading`; BadRow where it can't be one."""
    if not isinstance(raw, dict):
        raise BadRow("not_an_object", f"expected an object with {', '.join(_FIELDS)}, not {shorten_value(raw)}")
    turn = read_turn(raw)
    written = {
        name: _read_text(name, value)
        for name, value in zip(_FIELDS, (turn.instruction, turn.input, turn.output), strict=True)
    }
    system = _read_text("system", turn.system)
    if (length := len(system) + sum(map(len, written.values()))) > MOST_CHARACTERS:
        raise BadRow("too_long", f"{length:,} characters, more than {MOST_CHARACTERS:,}: cut it into several rows")
    fields = {name: strip_sequence_marks(text) for name, text in written.items()}
    has_marks = fields != written
    fields["input"] = drop_placeholder(fields["input"])
    family = _read_family(raw)
    lacks: tuple[tuple[Reason, str], ...] = (("no_instruction", "instruction"), ("no_output", "output"))
    for reason, name in lacks:
        if not squeeze_text(fields[name]):
            raise BadRow(reason, f"{name}: " + ("empty" if written[name] else "missing or empty"))
    if squeeze_text(system):
        fields["instruction"] = f"{system.strip()}\n\n{fields['instruction']}"
    for name, text in [*fields.items(), ("family", family)]:
        _refuse_characters(name, text)
        if name != "family" and (found := find_prompt_markup(text)):
            raise BadRow("prompt_leakage", f"{name}: {found!r} is markup of a prompt")
    _count_reading(reading, turn, has_system=bool(squeeze_text(system)), has_marks=has_marks)
    digest = hashlib.sha256(dump_canonical_json(fields | {"family": family}).encode()).hexdigest()[:16]
    # All of it has been checked above. One set of names for all rows: each with its own would take half as much again.
    own = {"id": f"{stem}-{digest}", "family": sys.intern(family), "category": "", "source": "extra"}
    return Instruction.model_construct(_FIELD_NAMES, **own, **fields)


def _count_reading(reading: Reading, turn: Turn, *, has_system: bool, has_marks: bool) -> None:
    reading.formats[turn.format] += 1
    reading.cut += turn.messages_left > 0
    reading.messages_left += turn.messages_left
    reading.systems += has_system
    reading.marks += has_marks


def _read_text(name: str, value: object) -> str:
    """Empty where it is missing."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRow("wrong_type", f"{name}: expected a text, not {shorten_value(value)}")
    return value


def _read_family(raw: JsonObject) -> str:
    if raw.get("family") is None:
        return FAMILY
    family = _read_text("family", raw["family"])
    if not family.strip():
        raise BadRow("wrong_type", "family: empty")
    return family


def _refuse_characters(name: str, text: str) -> None:
    if _HALF_SURROGATE.search(text):
        raise BadRow("half_surrogate", f"{name}: half a surrogate pair (\\ud800 to \\udfff) is not a character")
    if "\0" in text:
        raise BadRow("nul", f"{name}: contains a NUL character")
    if found := find_noncharacter(text):
        raise BadRow("noncharacter", f"{name}: contains {found}")
