"""Shows what a script prints while it runs: copies the files that its streams grow into to this process's own streams.

The script itself holds neither our terminal, which it could read what is typed from, nor the file that we print into.
"""

import codecs
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

POLL = 0.05
"""Seconds between two looks at what was printed."""
_CHUNK = 2**16
_LAYOUT = "\n\r\t"


def escape_controls(text: str, kept: str = "") -> str:
    """The text without what steers a terminal or has no UTF-8: such characters, but `kept`, are escaped."""
    return "".join(each if each.isprintable() or each in kept else ascii(each)[1:-1] for each in text)


@contextmanager
def echo_files(files: Sequence[tuple[BinaryIO, int]]) -> Iterator[None]:
    """In the block, and at its end, copy what each file has got to the descriptor beside it."""
    if not files:
        yield
        return
    sys.stdout.flush()
    ended = threading.Event()
    copies = [_Copy(file.fileno(), target) for file, target in files]

    def follow() -> None:
        while not ended.wait(POLL):
            for copy in copies:
                copy.advance()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for copy in copies:
            copy.advance()


class _Copy:
    def __init__(self, source: int, target: int) -> None:
        self.source, self.target = source, target
        self.at = 0
        """Octets that were copied. Nothing moves the source's own position, which the script shares."""
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace") if os.isatty(target) else None

    def advance(self) -> None:
        try:
            with open(self.target, "wb", closefd=False) as target:
                while octets := os.pread(self.source, _CHUNK, self.at):
                    self.at += len(octets)
                    if self.decoder:
                        octets = escape_controls(self.decoder.decode(octets), _LAYOUT).encode()
                    target.write(octets)
        except OSError:  # nobody reads any more
            self.at = sys.maxsize
