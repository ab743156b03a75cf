"""Errors of the system that say which file they are of, and files that never end, which are not opened."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from netllama.core.errors import NO_ROOM, StageError

NAMELESS = (*NO_ROOM, errno.EIO)
"""Errors of reading and writing, which Python does not connect with a file."""


@contextmanager
def name_file(path: str | Path) -> Iterator[None]:
    """What the system says of reading or writing (a full disk, a broken one) becomes an error that names `path`."""
    try:
        yield
    except StageError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NAMELESS and error.filename is None:
            error.filename = str(path)
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # Libraries in Rust (safetensors, tokenizers) have an exception of their own for what the system said.
        if found := re.search(r"\(os error (\d+)\)", str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error
        # NumPy says how much of an array it has written, and keeps to itself why not all of it.
        if isinstance(error, OSError) and re.fullmatch(r"\d+ requested and \d+ written", str(error)):
            raise StageError(f"{path}: can't be written ({error}); is the disk full?") from None
        raise


@contextmanager
def open_regular(path: str | Path) -> Iterator[BinaryIO]:
    """A file, to be read. StageError for none, and for a pipe, a socket or a device: they may never end."""
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, ValueError):  # ValueError: a NUL in the name
        raise StageError(f"{str(path)!r}: no such file" if "\0" in str(path) else f"{path}: no such file") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a folder has an error of its own
        raise StageError(f"{path}: not a file but a pipe, a socket or a device; copy what comes out of it into a file")
    with open(path, "rb") as file, name_file(path):
        yield file
