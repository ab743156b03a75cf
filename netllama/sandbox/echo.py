"""Shows what a script prints while it runs: copies the files that its streams grow into to this process's own streams.

The script itself holds neither our terminal, which it could read what is typed from, nor the file that we print into.
"""

import codecs
import os
import sys
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO

POLL = 0.05
"""Seconds between two looks at what was printed."""
_CHUNK = 2**16
_LAYOUT = "\n\r\t"
_JOINER = "\u200d"
"""Within an emoji, and in words of some scripts."""


def escape_controls(text: str, kept: str = "") -> str:
    """The text without what steers a terminal or has no UTF-8: such characters, but `kept`, are escaped."""
    return "".join(each if each in kept or not _steers(each) else ascii(each)[1:-1] for each in text)


def _steers(character: str) -> bool:
    return not character.isprintable() and unicodedata.category(character) != "Zs" and character != _JOINER


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
            copy.end()


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

    def end(self) -> None:
        """Print what is left of a character that was cut off."""
        if self.decoder and (left := self.decoder.decode(b"", final=True)):
            with suppress(OSError):
                os.write(self.target, left.encode())
