"""Temporary folders that don't outlive a killed process for long: whoever makes the next one removes what is left."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".unfinished"
"""What the names of these folders end in."""


@contextmanager
def hold_folder(parent: str | Path, prefix: str) -> Iterator[Path]:
    """A new folder of this prefix in `parent`, removed at the end; those that killed processes left go first.

    Of hidden ones those of any name: what is named by a hash of its inputs may never be written again. A lock tells
    them from those in use: the system releases it with the process. Where the filesystem has no locks, all of them
    stay.
    """
    _remove_leftovers(Path(parent), "." if prefix.startswith(".") else prefix)
    while True:
        with (
            tempfile.TemporaryDirectory(UNFINISHED, prefix, parent, ignore_cleanup_errors=True) as name,
            contextlib.suppress(_TakenError),
            _lock_folder(name),
        ):
            yield Path(name)
            return


class _TakenError(Exception):
    """Another process took the folder for a leftover, in the moment before it was locked."""


@contextmanager
def _lock_folder(name: str) -> Iterator[None]:
    try:
        opened = os.open(name, os.O_RDONLY)
    except FileNotFoundError:
        raise _TakenError from None
    try:
        with contextlib.suppress(OSError):  # no locks here
            fcntl.flock(opened, fcntl.LOCK_EX)
        if not Path(name).exists():
            raise _TakenError
        yield
    finally:
        os.close(opened)


def _remove_leftovers(parent: Path, prefix: str) -> None:
    with os.scandir(parent) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(prefix) and entry.name.endswith(UNFINISHED)]
    for name in names:
        with contextlib.suppress(OSError):  # it is in use, or somebody else's
            _remove_if_unlocked(parent / name)


def _remove_if_unlocked(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(opened)
