"""The entries of a file of questions, each with its line: a JSON array, an object of questions, JSONL, CSV or TSV.

An entry that can't be read is one with a problem, not the end of the file, as far as what follows can be found.
"""

import csv
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netllama.core.errors import StageError
from netllama.core.files import JsonObject, iter_lines, parse_json, read_text

_SPACE = re.compile(r"[\s,]*")
_BETWEEN = re.compile(r"[\s,:]*")
ONE = ("question", "statement", "instruction")
"""Keys that tell a question from an object of questions."""

TABLES = (".csv", ".tsv")
SPREADSHEETS = (".xls", ".xlsx", ".ods")
DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Entry:
    """What stands at a line: a row, or a problem and an empty row."""

    line: int
    row: JsonObject
    problem: str = ""


class _LineCount:
    """Numbers the lines of a text at places that come in their order: what lies behind is not counted again."""

    def __init__(self, text: str) -> None:
        self._text, self._place, self._line = text, 0, 1

    def find(self, place: int) -> int:
        self._line += self._text.count("\n", self._place, place)
        self._place = place
        return self._line


def _build_object(pairs: list[tuple[str, Any]]) -> JsonObject:
    row = dict(pairs)
    if len(row) < len(pairs):
        repeated = next(key for place, (key, _) in enumerate(pairs) if key in [other for other, _ in pairs[:place]])
        raise ValueError(f"key {repeated!r} stands twice in one object; keep the right one")
    return row


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no value of JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_build_object, parse_constant=_refuse_constant)


def read_entries(path: Path) -> list[Entry]:
    """The entries of a file. Raises StageError if it has none, or is in none of these formats."""
    if path.suffix.lower() in SPREADSHEETS:
        raise StageError(f"{path}: a spreadsheet; save it as CSV, with the names of the columns in its first line")
    text = read_text(path)
    if path.suffix.lower() in TABLES:
        return _read_table(path, text)
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] == "[":
        entries, end = _walk_array(path, text, start + 1, _LineCount(text))
        if rest := text[end:].strip():
            line = text.count("\n", 0, text.index(rest, end)) + 1
            raise StageError(f"{path}:{line}: not valid JSON (something follows the end of the array)")
    elif text[start : start + 1] == "{" and (whole := _read_whole(path, text)) is not None:
        entries = _walk_object(path, text, whole)
    else:
        entries = [_read_line(number, line) for number, line in iter_lines(path)]
    if not entries:
        raise StageError(f"{path}: no questions in it")
    return entries


def _read_table(path: Path, text: str) -> list[Entry]:
    """The rows of a table (RFC 4180) whose first line names the columns; empty cells are keys that a row lacks."""
    first = text.lstrip().partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=first.count), strict=True)
    entries: list[Entry] = []
    names: list[str] = []
    try:
        while True:
            line = rows.line_num + 1
            cells = [cell.strip() for cell in next(rows)]
            if not any(cells):
                continue
            if not names:
                names = _check_names(path, line, cells)
            elif len(cells) != len(names):
                entries.append(Entry(line, {}, f"cells: {len(cells)}, columns of the table: {len(names)}"))
            else:
                row = {name: cell for name, cell in zip(names, cells, strict=True) if name and cell}
                entries.append(_check_entry(line, row))
    except StopIteration:
        pass
    except csv.Error as error:
        raise StageError(f"{path}:{rows.line_num}: not a valid table ({error})") from None
    if not entries:
        raise StageError(f"{path}: no questions in it")
    return entries


def _check_names(path: Path, line: int, names: list[str]) -> list[str]:
    if not {name.lower() for name in names} & {*ONE}:
        raise StageError(
            f"{path}:{line}: no column is called {', '.join(ONE[:-1])} or {ONE[-1]}; the first line names the columns, "
            "such as question,A,B,C,D,answer"
        )
    if twice := [name for name in dict.fromkeys(names) if name and names.count(name) > 1]:
        raise StageError(f"{path}:{line}: two columns are called {twice[0]}; rename one")
    return names


def _read_whole(path: Path, text: str) -> JsonObject | None:
    """The file as one object; None where it is JSONL: its first line is an object by itself."""
    first, _, rest = text.strip().partition("\n")
    try:
        parse_json(first)
    except ValueError:
        rest = ""
    if rest.strip():
        return None
    try:
        value = parse_json(text)
    except json.JSONDecodeError as error:
        if any(_is_object(line) for line in text.splitlines()):
            return None
        raise StageError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from None
    except ValueError as error:
        raise StageError(f"{path}: {error}") from None
    return value if isinstance(value, dict) else None


def _is_object(line: str) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except ValueError:
        return False


def _read_line(number: int, line: str) -> Entry:
    try:
        parse_json(line)  # refuses what is nested too deeply for our decoder
        return _check_entry(number, _DECODER.decode(line))
    except json.JSONDecodeError as error:
        return Entry(number, {}, f"not valid JSON ({error.msg}); write one object per line")
    except ValueError as error:
        return Entry(number, {}, str(error))


def _check_entry(line: int, value: Any) -> Entry:
    if not isinstance(value, dict):
        return Entry(line, {}, f"not a JSON object but {json.dumps(value)[:40]}")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return Entry(line, {}, "half a surrogate pair (\\ud800 to \\udfff) is not a character; remove it")
    return Entry(line, value)


def _walk_array(path: Path, text: str, place: int, lines: _LineCount) -> tuple[list[Entry], int]:
    """The elements of an array from behind its bracket, each with the line that it begins on, and where it ends."""
    entries: list[Entry] = []
    while True:
        found = _SPACE.match(text, place)
        place = found.end() if found else place
        if text[place : place + 1] == "]":
            return entries, place + 1
        line = lines.find(place)
        try:
            # Its end is found by a decoder that lets pass what ours refuses.
            _, end = json.JSONDecoder().raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise StageError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from None
        except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 100,000 brackets
            raise StageError(f"{path}:{line}: not valid JSON ({error})") from None
        entries.append(_read_line(line, text[place:end]))
        place = end


def _walk_object(path: Path, text: str, whole: JsonObject) -> list[Entry]:
    """One question; or questions by name, as TeleQnA has them; or lists of questions by name."""
    if any(key.strip().lower() in ONE for key in whole):
        return [_read_line(1, text)]
    entries: list[Entry] = []
    place, lines, decoder = text.index("{") + 1, _LineCount(text), json.JSONDecoder()
    while text[place := _skip(text, place)] != "}":
        _, place = decoder.raw_decode(text, place)  # the name
        place = _skip(text, place)
        if text[place] == "[":
            own, place = _walk_array(path, text, place + 1, lines)
            entries += own
        else:
            _, end = decoder.raw_decode(text, place)
            entries.append(_read_line(lines.find(place), text[place:end]))
            place = end
    return entries


def _skip(text: str, place: int) -> int:
    """The next place that is no white space, comma or colon."""
    found = _BETWEEN.match(text, place)
    return found.end() if found else place
