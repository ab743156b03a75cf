"""Reads and writes files. Equal values give equal bytes: sorted keys, LF, no timestamps.

Every writer is atomic (temporary file, then rename): a killed stage leaves the old file or the new one, never a mix.
"""

import contextlib
import csv
import ctypes
import errno
import hashlib
import io
import itertools
import json
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, overload

from netllama.core.errors import StageError
from netllama.core.file_errors import name_file, open_regular
from netllama.core.temporary_folders import hold_folder

JsonObject = dict[str, Any]
T = TypeVar("T")

DEEPEST = 200
"""Levels of lists and objects in a JSON value; Python's own limit depends on where it is called."""
OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)
"""Errors of a rename onto a folder that is not empty, of a folder onto a file, and of a file onto a folder."""
NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)
"""Errors of an exchange on a kernel or a filesystem that does not support it."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path that replaces `path` (file or folder) when the block ends without an exception.

    It lies in a new hidden folder beside `path`, which the block may also use for files that it needs on the way.

    A file is replaced in one step everywhere, a folder on Linux (ext4, XFS, Btrfs, tmpfs) and macOS (APFS): a reader
    that opens files by their path finds the old one or the new one at any moment. Where the system or the filesystem
    (NFS, for instance) can't exchange two folders, the folder is missing for the moment between two renames, and a
    process that is killed in this moment leaves it missing.

    What no system gives: a reader that opens several files of a folder may get old and new ones, and a reader that
    lists a folder may see the old one while it is being deleted. If two processes write at once, the last one wins.
    A killed process leaves its hidden folder behind; the next writer beside `path` removes it.

    All of it gets the permissions that the umask gives to new files, whatever a library gave it (safetensors: 0600).
    An error of the system that names no file (a full disk) names `path` when it leaves the block.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with name_file(target), hold_folder(target.parent, f".{target.name}.") as holder:
        yield holder / target.name
        _apply_umask(holder / target.name, holder)
        _put_in_place(holder / target.name, target)


def _apply_umask(new: Path, holder: Path) -> None:
    """Give the file or folder `new` the permissions that a new file has here; none is taken away."""
    (probe := holder / ".permissions").touch()
    given = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    for path in [new, *new.rglob("*")] if new.is_dir() else [new]:
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and given & ~mode:
            path.chmod(stat.S_IMODE(mode) | given)


def _put_in_place(new: Path, target: Path) -> None:
    """Rename `new` to `target`. If a folder was there, it ends up in the parent folder of `new`."""
    while True:
        try:
            return os.replace(new, target)
        except OSError as error:
            if error.errno not in OCCUPIED:
                raise
        with contextlib.suppress(FileNotFoundError):  # another writer has just moved the target aside
            if _exchange(new, target):
                return
            os.replace(target, Path(tempfile.mkdtemp(dir=new.parent)) / "old")


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step. False if the system or the filesystem can't."""
    libc = ctypes.CDLL(None, use_errno=True)
    names, swap = (os.fsencode(one), os.fsencode(other)), 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
    if sys.platform == "darwin":
        failed = libc.renamex_np(*names, swap)
    elif hasattr(libc, "renameat2"):
        here = -100  # AT_FDCWD: relative paths are relative to the current folder
        failed = libc.renameat2(here, names[0], here, names[1], swap)
    else:
        return False
    if failed and (number := ctypes.get_errno()) not in NO_EXCHANGE:
        raise OSError(number, os.strerror(number), str(other))
    return not failed


def write_text(path: str | Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def dump_canonical_json(value: object) -> str:
    """One line of JSON, the same for equal values. Hashes and JSONL rows are made of it."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(", ", ": "))


def write_json(path: str | Path, value: object) -> None:
    write_text(path, json.dumps(value, sort_keys=True, ensure_ascii=False, indent=2) + "\n")


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_text(path, "".join(dump_canonical_json(row) + "\n" for row in rows))


def write_findings(path: str | Path, rows: Iterable[Mapping[str, Any]], none: str) -> None:
    """Write what a stage has to say of single rows, for people; where there is nothing, one row that says `none`.

    An empty file would leave a reader in doubt, and DVC warns of it.
    """
    write_jsonl(path, list(rows) or [{"none": none}])


def has_findings(path: str | Path) -> bool:
    """Whether `write_findings` had any row to write to the file."""
    for number, line in iter_lines(path):
        return parse_line(path, number, line, is_finding)
    return False


def is_finding(row: JsonObject) -> bool:
    """Whether the row is not the one that `write_findings` writes where there is nothing."""
    return set(row) != {"none"}


def write_csv(path: str | Path, rows: Sequence[JsonObject]) -> None:
    """Write rows with equal keys as CSV with a header, for plots. No rows make an empty file without a header."""
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_text(path, buffer.getvalue())


def read_text(path: str | Path) -> str:
    """UTF-8 text without the byte order mark that Windows editors write; raises `StageError` if it is anything else."""
    try:
        with open_regular(path) as opened, io.TextIOWrapper(opened, encoding="utf-8-sig") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise StageError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None


def parse_json(text: str) -> Any:
    """The value of a JSON text; ValueError where it is none, or nothing that we could write again.

    That is half a surrogate pair (an emoji cut in two), which no file can hold, and what is nested beyond `DEEPEST`.
    """
    try:
        value = json.loads(text)
        deep = text.count("[") + text.count("{") > DEEPEST and not _is_shallow(value)
    except RecursionError:
        deep = True
    if deep:
        raise ValueError(f"nested more than {DEEPEST} levels deep")
    if "\\ud" in text.lower():
        try:
            dump_canonical_json(value).encode()
        except UnicodeEncodeError:
            raise ValueError("half a surrogate pair (\\ud800 to \\udfff) is not a character; remove it") from None
    return value


def _is_shallow(value: object) -> bool:
    """Whether the value is nested at most `DEEPEST` levels deep."""
    level: list[Any] = [value]
    for _ in range(DEEPEST + 1):
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        if not inner:
            return True
        level = list(itertools.chain.from_iterable(inner))
    return False


def read_json(path: str | Path) -> Any:
    try:
        return parse_json(read_text(path))
    except json.JSONDecodeError as error:
        raise StageError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from None
    except ValueError as error:
        raise StageError(f"{path}: {error}") from None


@overload
def read_jsonl(path: str | Path) -> list[JsonObject]: ...
@overload
def read_jsonl(path: str | Path, parse: Callable[[JsonObject], T]) -> list[T]: ...
def read_jsonl(path: str | Path, parse: Callable[[JsonObject], Any] = lambda row: row) -> list[Any]:
    """The rows of a file, each passed through `parse`; raises `StageError` that lists every bad line with its reason.

    `parse` raises ValueError with a short reason if it rejects a row.
    """
    return load_all(partial(parse_line, path, *line, parse) for line in iter_lines(path))


def iter_jsonl(path: str | Path, parse: Callable[[JsonObject], T]) -> Iterator[T]:
    """The rows as `read_jsonl` gives them, one at a time; the error of a bad line lists the bad ones after it, too."""

    def check(number: int, line: str) -> None:  # keeps no row, since the rest may not fit into memory
        parse_line(path, number, line, parse)

    lines = iter_lines(path)
    for line in lines:
        try:
            row = parse_line(path, *line, parse)
        except StageError:
            load_all(partial(check, *each) for each in itertools.chain([line], lines))
            raise
        yield row


def load_all(loads: Iterable[Callable[[], T]]) -> list[T]:
    """What each of `loads` returns; raises one `StageError` with the lines of all that they raised."""
    loaded: list[T] = []
    problems: list[str] = []
    rest = iter(loads)
    while True:
        try:
            loaded.append(next(rest)())
        except StopIteration:
            break
        except StageError as error:  # of a load, or of the iterator, which then ends
            problems += str(error).splitlines()
    if problems:
        raise StageError("\n".join(problems))
    return loaded


def iter_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, each with its number from 1; does not hold the whole file in memory."""
    try:
        with open_regular(path) as opened, io.TextIOWrapper(opened, encoding="utf-8-sig") as file:
            yield from ((number, line.rstrip("\n")) for number, line in enumerate(file, start=1) if line.strip())
    except UnicodeDecodeError:
        read_text(path)  # raises an error that names the byte
        raise


def parse_line(path: str | Path, number: int, line: str, parse: Callable[[JsonObject], T]) -> T:
    """Pass line `number` of a JSONL file through `parse`, as `read_jsonl` does."""
    try:
        row = parse_json(line)
        if not isinstance(row, dict):
            raise ValueError("not a JSON object; write one object per line")
        return parse(row)
    except json.JSONDecodeError as error:
        raise StageError(f"{path}:{number}: not valid JSON ({error.msg}); write one object per line") from None
    except ValueError as error:
        raise StageError(f"{path}:{number}: {error}") from None


def hash_file(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_json(value: object) -> str:
    return hashlib.sha256(dump_canonical_json(value).encode()).hexdigest()


def ensure_scratch_folder(name: str) -> Path:
    """Create (if missing) and return the folder `name` for state that outlives a crash, shared by all experiments.

    It lies in .scratch/ of the checkout. DVC sets DVC_ROOT for a stage; in a `--temp` or queued run it points to the
    parent repository, so that these runs share the folder too.
    """
    folder = Path(os.environ.get("DVC_ROOT", ".")) / ".scratch" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
