"""Claims of processes that share a response store: while one process asks for an answer, the others wait for it.

A claim is a lock on one byte of an empty file; the name of the claim decides which byte. So thousands of claims need
one file, and the system drops the claims of a process that ends, even if it was killed. Claims work between processes
only: two claims of one process never conflict, and a process that has two `Claims` of one file loses the claims of both
when one of them closes it.
"""

import fcntl
import hashlib
from pathlib import Path
from typing import BinaryIO


class Claims:
    """Claims in the file `path`, which the first claim creates; it stays empty and is never deleted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def take(self, name: str) -> bool:
        """True if this process has the claim now, False if another process has it."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "ab")  # noqa: SIM115 (its claims end when it is closed)
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _choose_byte(name))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def drop(self, name: str) -> None:
        """Give the claim up, so that another process can take it."""
        if self._file is not None:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _choose_byte(name))


def _choose_byte(name: str) -> int:
    """60 bits of the name's hash. If two names share a place, one waits for the other, nothing worse."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:15], 16)
