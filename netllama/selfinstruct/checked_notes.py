"""The notes that answers are checked against: chunks that were recorded, searched by words.

They are recorded (`python -m commands.index FOLDER... --record`), not read from the corpus: an edit of a document must
not change which tasks a paid run kept. Who wants the edit checked against records again.
"""

from collections.abc import Sequence
from pathlib import Path

from netllama.documents.chunk_file import iter_chunks
from netllama.documents.document import Chunk, show_chunk
from netllama.retrieval.lexical_index import LexicalIndex

SHOWN = 4
"""Notes that the judge is shown with two answers, at most."""


class CheckedNotes:
    def __init__(self, chunks: Sequence[Chunk] = ()) -> None:
        self._ids = [chunk.id for chunk in chunks]
        self._texts = [show_chunk(chunk.headings, chunk.text) for chunk in chunks]
        self._index = LexicalIndex.build(self._texts, self._ids) if chunks else None

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def longest(self) -> int:
        """Characters of as many notes as are shown, the longest of all."""
        return sum(sorted(map(len, self._texts))[-SHOWN:])

    def find(self, query: str) -> dict[str, str]:
        """Ids and texts of the notes that share the weightiest words with `query`, best first; ties by id."""
        hits = self._index.search(query, SHOWN) if self._index else []
        return {hit.id: self._texts[hit.position] for hit in hits}


def load_notes(path: Path) -> CheckedNotes:
    """None are there where nothing was recorded."""
    return CheckedNotes(list(iter_chunks(path)) if path.is_file() else ())
