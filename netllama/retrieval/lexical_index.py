"""Search by words: BM25 over the project's own terms, exact, with ties broken by id.

A score is the sum of float32 numbers in float64, which is exact: neither the order of a query's terms nor threads
change it, so that equal texts tie, and the same query finds the same texts on every machine.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netllama.core.errors import StageError
from netllama.core.files import atomic_path, read_json, write_json
from netllama.core.records import Record, parse_as
from netllama.retrieval.hits import Hit, order_ids, rank_scores
from netllama.retrieval.query_scoring import score_candidates
from netllama.retrieval.score_matrix import K1, B, ScoreMatrix, compute_scores
from netllama.retrieval.string_table import StringTable
from netllama.retrieval.term_counts import count_terms
from netllama.retrieval.terms import RULES, split_terms

FORMAT = 2
"""Of the files; raise it when they change."""
CONTENTS = "index.json"
NAMES = ("terms", "term_offsets", "starts", "texts", "scores", "peaks", "ids", "id_offsets", "id_ranks")
FILES = tuple(f"{name}.npy" for name in NAMES)
_BLOCK = 1 << 20


class IndexContents(Record):
    """index.json: what the arrays beside it are. An index that was made by other rules is not opened."""

    format: int = FORMAT
    rules: int = RULES
    k1: float = K1
    b: float = B
    checksums: dict[str, int]
    """By file name."""


@dataclass(frozen=True)
class LexicalIndex:
    """Texts by their terms. An opened index is mapped into memory: a search reads the columns of its terms alone."""

    matrix: ScoreMatrix
    ids: StringTable
    """In the order of the texts."""
    id_ranks: NDArray[np.int32]
    """(texts,): the place of each text's id among all ids in order."""

    @classmethod
    def build(cls, texts: Iterable[str], ids: Sequence[str]) -> "LexicalIndex":
        """Index `texts`, which are read once, under `ids`, one for each and none twice."""
        matrix = compute_scores(count_terms(texts, len(ids)))
        if matrix.number != len(ids):
            raise ValueError(f"{matrix.number} texts and {len(ids)} ids")
        return cls(matrix, StringTable.pack(ids), order_ids(ids))

    def __len__(self) -> int:
        return self.matrix.number

    def search(self, query: str, k: int) -> list[Hit]:
        """The best `k` texts that hold a term of `query`, best first, ties by id; fewer where fewer hold one."""
        if k <= 0:
            return []
        texts, scores = score_candidates(self.matrix, Counter(split_terms(query)), k)
        best = rank_scores(scores, self.id_ranks[texts], k)
        return [Hit(self.ids.read(int(texts[at])), int(texts[at]), float(scores[at])) for at in best]

    def save(self, folder: Path) -> None:
        """Write the index to `folder`, which is replaced in one step."""
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            checksums = {}
            for name, array in self._list_arrays().items():
                np.save(temporary / name, array)
                checksums[name] = _sum_file(temporary / name)
            write_json(temporary / CONTENTS, IndexContents(checksums=checksums).model_dump())

    def _list_arrays(self) -> dict[str, NDArray[Any]]:
        matrix = self.matrix
        arrays = (matrix.terms.utf8, matrix.terms.offsets, matrix.starts, matrix.texts, matrix.scores, matrix.peaks)
        return dict(zip(FILES, (*arrays, self.ids.utf8, self.ids.offsets, self.id_ranks), strict=True))

    @classmethod
    def open(cls, folder: Path) -> "LexicalIndex":
        """The index of `folder`, mapped into memory; StageError if it is damaged or was made by other rules."""
        try:
            contents = parse_as(IndexContents, read_json(folder / CONTENTS))
            if contents != IndexContents(checksums=contents.checksums):
                raise ValueError("it was made by other rules than this version's")
            for name in FILES:
                if not (folder / name).is_file():
                    raise ValueError(f"{name} is missing")
                if _sum_file(folder / name) != contents.checksums.get(name):
                    raise ValueError(f"{name} is damaged")
        except (ValueError, StageError) as error:
            raise StageError(f"{folder}: can't use this index ({error}); delete the folder and index again") from None
        terms, term_offsets, starts, texts, scores, peaks, ids, id_offsets, id_ranks = (
            np.load(folder / name, mmap_mode="r").view(np.ndarray) for name in FILES
        )
        matrix = ScoreMatrix(len(id_ranks), StringTable(terms, term_offsets), starts, texts, scores, peaks)
        return cls(matrix, StringTable(ids, id_offsets), id_ranks)


def _sum_file(path: Path) -> int:
    """A checksum of a file: the CRC-32 of the sizes of its blocks and of their sums, as 64-bit words.

    5 GB/s, where CRC-32 of all bytes is 1: so an index of a million texts, a gigabyte, is checked as it is opened.
    """
    checksum, block = 0, memoryview(bytearray(_BLOCK))
    with open(path, "rb") as file:
        while size := file.readinto(block):
            whole = size - size % 8
            total = int(np.frombuffer(block[:whole], np.uint64).sum(dtype=np.uint64))
            checksum = zlib.crc32(b"%d %d " % (size, total) + block[whole:size], checksum)
    return checksum
