"""Reading and writing, the same bytes every time: sorted keys, LF, no timestamps, temp file + rename.

Every writer is atomic: a killed stage leaves the old file or the new one, never half of one.
"""

import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from netllama.core.errors import StageError

Row = dict[str, Any]


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary sibling of `path` (file or folder) that replaces it when the block ends well."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield holder / target.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(holder / target.name, target)
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def canonical_json(value: object) -> str:
    """One line of JSON that is equal for equal values: what hashes and JSONL rows are made of."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(", ", ": "))


def write_json(path: str | Path, value: object) -> None:
    write_text(path, json.dumps(value, sort_keys=True, ensure_ascii=False, indent=2) + "\n")


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_text(path, "".join(canonical_json(row) + "\n" for row in rows))


def write_csv(path: str | Path, rows: Sequence[Row]) -> None:
    """Rows of equal keys as CSV with a header (plots). No rows: an empty file with no header."""
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_text(path, buffer.getvalue())


def read_text(path: str | Path) -> str:
    """UTF-8 with or without a byte order mark (Windows editors write one)."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise StageError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise StageError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None


def _parse(text: str) -> Any:
    """JSON; half a surrogate pair (an emoji cut in two) is refused here and not when a row is written."""
    value = json.loads(text)
    if "\\ud" in text.lower():
        try:
            canonical_json(value).encode()
        except UnicodeEncodeError:
            raise ValueError("half a surrogate pair (\\ud800 to \\udfff) is no character") from None
    return value


def read_json(path: str | Path) -> Any:
    try:
        return _parse(read_text(path))
    except json.JSONDecodeError as error:
        raise StageError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from None
    except ValueError as error:
        raise StageError(f"{path}: {error}") from None


def read_jsonl(path: str | Path, parse: Callable[[Row], Any] = lambda row: row) -> list[Any]:
    """The file's rows through `parse`; a bad line is an error that names the file and the line.

    `parse` raises ValueError with a short reason for a row it does not accept.
    """
    return [parse_line(path, number, line, parse) for number, line in iter_lines(path)]


def iter_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """The file's lines that are not blank, each with its number, without the whole file in memory."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            yield from ((number, line.rstrip("\n")) for number, line in enumerate(file, start=1) if line.strip())
    except FileNotFoundError:
        raise StageError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        read_text(path)  # knows at which byte of the file
        raise


def parse_line(path: str | Path, number: int, line: str, parse: Callable[[Row], Any]) -> Any:
    """One line of a JSONL file through `parse`, as `read_jsonl` does it."""
    try:
        row = _parse(line)
        if not isinstance(row, dict):
            raise ValueError("expected one JSON object a line")
        return parse(row)
    except json.JSONDecodeError as error:
        raise StageError(f"{path}:{number}: not valid JSON ({error.msg}); one object a line") from None
    except ValueError as error:
        raise StageError(f"{path}:{number}: {error}") from None


def sha256_file(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def scratch(name: str) -> Path:
    """A folder for state that outlives a crash, shared by all experiments of this checkout.

    DVC sets DVC_ROOT for a stage; in a `--temp` or queued run it points to the parent repository.
    """
    folder = Path(os.environ.get("DVC_ROOT", ".")) / ".scratch" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
