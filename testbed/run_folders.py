"""A folder of its own for each run, in a cache that keeps the last ones."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from netllama.core.locks import hold_lock

KEPT = 10
"""Ended runs whose folders are kept."""
_IN_USE = "in-use.lock"


@contextmanager
def open_run_folder(cache: Path, name: str) -> Iterator[Path]:
    """A new folder NAME-RANDOM in `cache`, which nobody deletes before the block ends.

    Of the folders whose runs have ended, the newest `KEPT` stay; the others are deleted.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with hold_lock(cache / "folders.lock", f"tidies up {cache}"):
        folder = Path(tempfile.mkdtemp(dir=cache, prefix=f"{name}-"))
        folder.chmod(0o755)
        lock = FileLock(folder / _IN_USE)
        lock.acquire()
        _delete_old(cache)
    try:
        yield folder
    finally:
        lock.release()


def _delete_old(cache: Path) -> None:
    # Before the locks are tried: a new lock file would make every folder the newest.
    by_age = sorted((path.stat().st_mtime, path) for path in cache.iterdir() if path.is_dir())
    ended = []
    for _, folder in by_age:
        with suppress(Timeout), FileLock(folder / _IN_USE, blocking=False):
            ended.append(folder)
    for folder in ended[:-KEPT]:
        shutil.rmtree(folder, ignore_errors=True)
