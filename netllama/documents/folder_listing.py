"""The files of a corpus folder in a fixed order, and what in it is no file to read."""

import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from netllama.core.errors import StageError
from netllama.documents.dropped import Cause, Dropped
from netllama.documents.file_formats import FORMATS


@dataclass(frozen=True)
class CorpusFile:
    path: str
    """As `Document.path`."""
    file: Path
    bytes: int


def list_folders(folders: Sequence[Path]) -> dict[Path, list[CorpusFile | Dropped]]:
    """Everything in each folder, in the order of its paths' characters; of two files with one path only the first.

    Raises StageError for a folder that isn't there, and for two of one name, whose documents would share ids.
    """
    named: dict[str, Path] = {}
    listed: dict[Path, list[CorpusFile | Dropped]] = {}
    for folder in folders:
        name = folder_name(folder)
        if not folder.exists():
            raise StageError(f"{folder}: no such folder; name a folder with documents")
        if not folder.is_dir():
            raise StageError(f"{folder}: not a folder; name the folder that the file is in")
        if not name:
            raise StageError(f"{folder}: the root of the file system is no corpus; name a folder with documents")
        if other := named.get(name):
            raise StageError(f"{other} and {folder}: folders of one name, so that ids would be equal; rename one")
        named[name] = folder
        listed[folder] = list(_keep_names_apart(sorted(_walk(folder, name, folder.resolve()), key=_find_place)))
    return listed


def folder_name(folder: Path) -> str:
    """What the paths of its documents begin with; empty for the root of the file system."""
    return normalize_name(folder.name if folder.name not in ("", "..") else folder.resolve().name)


def normalize_name(name: str) -> str:
    """A name that can be written as UTF-8 and is the same on every system (some store an accent as a character)."""
    readable = os.fsencode(name).decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", readable)


def _walk(folder: Path, path: str, root: Path) -> Iterator[CorpusFile | Dropped]:
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        yield _drop(f"{path}/", "unreadable", f"the folder can't be opened: {error.strerror}")
        return
    for entry in entries:
        inside = f"{path}/{normalize_name(entry.name)}"
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield from _walk(Path(entry.path), inside, root)
        else:
            yield _classify(entry, inside, root)


def _find_place(item: CorpusFile | Dropped) -> tuple[str, bytes]:
    """In the order of what is listed: of files with one path, the bytes of their names decide."""
    return (item.path, os.fsencode(item.file)) if isinstance(item, CorpusFile) else (item.file, b"")


def _keep_names_apart(listed: Iterable[CorpusFile | Dropped]) -> Iterator[CorpusFile | Dropped]:
    """One file of each path: more would share their ids."""
    taken = set[str]()
    for item in listed:
        if isinstance(item, Dropped):
            yield item
        elif item.path in taken:
            yield _drop(item.path, "same_name", "another file has the same name, stored as other bytes; rename one")
        else:
            taken.add(item.path)
            yield item


def _classify(entry: "os.DirEntry[str]", path: str, root: Path) -> CorpusFile | Dropped:
    """An entry that is no folder, or a hidden one."""
    file = Path(entry.path)
    if entry.name.startswith("."):
        return _drop(f"{path}/" if entry.is_dir(follow_symlinks=False) else path, "hidden", "hidden: begins with a dot")
    try:
        if file.suffix.lower() not in FORMATS and not (entry.is_symlink() and file.is_dir()):
            ending, endings = normalize_name(file.suffix), ", ".join(FORMATS)
            return _drop(path, "unknown_ending", f"{ending or 'no ending'}: what is read ends in {endings}")
        if entry.is_symlink():
            if not file.resolve(strict=True).is_relative_to(root):
                target = normalize_name(str(file.readlink()))
                return _drop(path, "link", f"a link out of the folder, to {target}; copy what it points to")
            if file.is_dir():
                return _drop(
                    f"{path}/", "duplicate", "a link to a folder of the same corpus, which is read where it is"
                )
        status = file.stat()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, up to Python 3.12
        return _drop(path, "link" if entry.is_symlink() else "unreadable", f"can't be opened: {_say(error)}")
    if not stat.S_ISREG(status.st_mode):
        return _drop(path, "unreadable", "not a regular file but a pipe, a socket or a device")
    return CorpusFile(path, file, status.st_size)


def _say(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _drop(path: str, cause: Cause, reason: str) -> Dropped:
    return Dropped(file=path, cause=cause, reason=reason)
