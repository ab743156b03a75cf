"""Chunks on disk, a line of JSON each, of which any one can be read without the others."""

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from netllama.core.errors import StageError
from netllama.core.files import atomic_path, dump_canonical_json, iter_jsonl, parse_line
from netllama.core.records import parse_as
from netllama.documents.document import Chunk

_BLOCK = 1 << 24
_LINE_END = ord("\n")


def write_chunks(path: Path, chunks: Iterable[Chunk]) -> None:
    """One after another: the chunks need not be in memory at once. Equal chunks give equal bytes."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        for chunk in chunks:
            file.write(dump_canonical_json(chunk.model_dump()) + "\n")


def iter_chunks(path: Path) -> Iterator[Chunk]:
    return iter_jsonl(path, lambda row: parse_as(Chunk, row))


class ChunkFile:
    """A file of chunks, mapped into memory: eight bytes of memory for each, and the lines that are read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open(path, "rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise StageError(f"{path}: no such file") from None
        except ValueError:
            raise StageError(f"{path}: an empty file; there are no chunks in it") from None
        whole = np.frombuffer(self._bytes, np.uint8)
        starts = range(0, len(whole), _BLOCK)
        ends = [start + np.flatnonzero(whole[start : start + _BLOCK] == _LINE_END) for start in starts]
        self._ends = np.concatenate(ends)

    def __len__(self) -> int:
        return len(self._ends)

    def read(self, position: int) -> Chunk:
        """The chunk of the line `position`, from 0."""
        if not 0 <= position < len(self):
            raise IndexError(position)
        start = int(self._ends[position - 1]) + 1 if position else 0
        line = self._bytes[start : int(self._ends[position])].decode()
        return parse_line(self.path, position + 1, line, lambda row: parse_as(Chunk, row))
