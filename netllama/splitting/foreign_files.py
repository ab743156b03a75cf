"""Somebody else's file into its rows: JSON Lines or a JSON array, packed with gzip or not, told by what is in it.

A file that can't be read as a whole is an error that says what it seems to be, and what to do.
"""

import contextlib
import gzip
import itertools
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from netllama.core.errors import StageError
from netllama.core.file_errors import open_regular
from netllama.core.files import JsonObject
from netllama.splitting.drops import BadRow, Origin
from netllama.splitting.foreign_formats import names_format

_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_PEEK = 16
_LOOKED_AT = 20
"""How many of the first lines tell whether a file has a row a line."""
_BETWEEN = re.compile(r"[\s,]*")
MOST_UNPACKED = 4 * 2**30
"""Bytes."""
_UTF_16 = "UTF-16: save it as UTF-8, or run iconv -f UTF-16 -t UTF-8"
_WRITE_JSON = "write its rows as JSON Lines, one object a line"
_SIGNATURES = {
    b"\xff\xfe\0\0": "UTF-32: save it as UTF-8",
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
    b"PAR1": f"Parquet: {_WRITE_JSON}",
    b"ARROW1": f"Arrow: {_WRITE_JSON}",
    b"SQLite": f"a SQLite database: {_WRITE_JSON}",
    b"PK\x03\x04": "a ZIP archive: unpack it",
    b"BZh": "packed with bzip2: unpack it, or pack it with gzip",
    b"\xfd7zXZ": "packed with xz: unpack it, or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "packed with zstd: unpack it, or pack it with gzip",
}
_COLUMNS = re.compile(r'^"?(?:\w+"?[,;\t]"?)*(?:instruction|prompt|question|messages)"?[,;\t]', re.IGNORECASE)


def name_rows(file: str) -> str:
    """What the ids of a file's rows begin with: its name without `.gz` and then without its last suffix."""
    return Path(file[:-3] if file.lower().endswith(".gz") else file).stem


def read_rows(path: Path) -> Iterator[tuple[Origin, object]]:
    """Every row with its place: an item of an array, or a line that is not blank, still as bytes.

    StageError where the file is missing, empty, or nothing that can be read.
    """
    with _opened(path) as file:
        head = file.read(_PEEK)
        if isinstance(file, gzip.GzipFile):
            _refuse_endless(path, file)
    for signature, meaning in _SIGNATURES.items():
        if head.startswith(signature):
            raise StageError(f"{path}: is {meaning}")
    if b"\0" in head:
        raise StageError(f"{path}: is {_UTF_16}")
    lines = _number_lines(path)
    first = list(itertools.islice(lines, _LOOKED_AT))
    if not first:
        raise StageError(f"{path}: is empty; put rows into it, or take it out of split.extra")
    if not _has_row_a_line([line for _, line in first]):
        yielded = _read_whole(path, first[0][1])
        if yielded is not None:
            yield from ((Origin(path.as_posix(), "item", place), item) for place, item in enumerate(yielded, start=1))
            return
    for place, line in itertools.chain(first, lines):
        yield Origin(path.as_posix(), "line", place), line


def _has_row_a_line(lines: Sequence[bytes]) -> bool:
    """Whether the first lines of a file are objects by themselves, but for some bad ones.

    Of an array that is written an object a line less than half of the lines are: brackets and commas stand there, too.
    """
    values = [_parse_or_none(line) for line in lines]
    objects = [value for value in values if isinstance(value, dict)]
    if len(lines) == 1:
        return bool(objects) and not _find_wrapped(objects[0])
    return 2 * len(objects) >= len(lines)


def parse_line(line: bytes) -> object:
    """A line of JSON Lines; BadRow where it is none."""
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRow("not_utf8", f"not UTF-8 at byte {error.start} of the line") from None
    except json.JSONDecodeError as error:
        raise BadRow("not_json", f"not valid JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 100,000 brackets
        raise BadRow("not_json", f"not valid JSON ({error})") from None


def _refuse_endless(path: Path, packed: gzip.GzipFile) -> None:
    """StageError for a few bytes that unpack to more than any machine holds."""
    size = 0
    while part := packed.read(1 << 20):
        size += len(part)
        if size > MOST_UNPACKED:
            raise StageError(f"{path}: more than {MOST_UNPACKED / 2**30:g} GiB when it is unpacked; split it")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with open_regular(path) as packed:
            is_packed = packed.read(len(_GZIP)) == _GZIP
            packed.seek(0)
            yield cast("IO[bytes]", gzip.GzipFile(fileobj=packed)) if is_packed else packed
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise StageError(f"{path}: broken gzip ({error}); fetch or pack it again") from None


def _number_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, without a byte order mark, counted from 1."""
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            text = line.removeprefix(_BOM) if number == 1 else line
            if text.strip():
                yield number, text


def _parse_or_none(line: bytes) -> object:
    try:
        return parse_line(line)
    except BadRow:
        return None


def _find_wrapped(value: JsonObject) -> str:
    """The key of an object that holds rows, by their keys; empty where there is none, or the object is a row itself."""
    if not names_format(value):
        for key, rows in value.items():
            first = rows[0] if isinstance(rows, list) and rows else None
            if isinstance(first, dict) and names_format(first):
                return key
    return ""


def _read_whole(path: Path, first: bytes) -> list[object] | None:
    """The items of a file that is one JSON array, or one object over several lines; None where it has a row a line.

    `first`: its first line.
    """
    is_array = first.lstrip().startswith(b"[")
    with _opened(path) as file:
        content = file.read()
    try:
        text = content.decode("utf-8-sig")
        value = json.loads(text)
    except UnicodeDecodeError as error:
        if not is_array or _parse_or_none(first) is not None:
            return None
        raise StageError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        if _parse_or_none(first) is not None:
            return None
        if is_array:
            item = _count_items(text[: error.pos])
            raise StageError(
                f"{path}:{error.lineno}: not valid JSON ({error.msg}), at item {item} of the array"
            ) from None
        _refuse_other_layouts(path, text)
        return None
    except (ValueError, RecursionError) as error:
        raise StageError(f"{path}: not valid JSON ({error})") from None
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and (key := _find_wrapped(value)):
        raise StageError(f"{path}: is one JSON object; keep only the array under its key {key}")
    return [value]


def _count_items(array: str) -> int:
    """The number of the item in which the beginning of an array ends, or which would follow."""
    decoder, number, place = json.JSONDecoder(), 1, array.index("[") + 1
    while True:
        between = _BETWEEN.match(array, place)
        try:
            _, place = decoder.raw_decode(array, between.end() if between else place)
        except ValueError:
            return number
        number += 1


def _refuse_other_layouts(path: Path, text: str) -> None:
    """StageError for objects over several lines each and for columns of text."""
    text = text.lstrip()
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        end = 0
    if end and text[end:].lstrip(" \t\r")[:1] not in ("", "\n"):
        raise StageError(
            f"{path}:1: goes on behind its object ({text[end:].split()[0][:10]!r}): write one a line, alone"
        )
    if "\n" in text[:end]:
        raise StageError(f"{path}: its objects are spread over several lines; write one a line, as jq -c . does")
    if _COLUMNS.match(text[:1000]):
        raise StageError(f"{path}: is a table of columns (CSV): {_WRITE_JSON}")
