"""Search by meaning: the texts whose vectors are nearest to the query's.

Every vector is compared, 10,000 of them in milliseconds: an approximate index would gain nothing below some hundred
thousand texts. What costs is encoding, some tens of texts a second and core, so this is for small corpora.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netllama.retrieval.hits import Hit, order_ids, rank_scores
from netllama.retrieval.sentence_encoder import SentenceEncoder
from netllama.retrieval.vector_store import VectorStore


@dataclass(frozen=True)
class DenseIndex:
    """Texts by their vectors."""

    encoder: SentenceEncoder
    ids: Sequence[str]
    id_ranks: NDArray[np.int32]
    vectors: NDArray[np.float32]
    """(texts, size), each of length 1."""

    @classmethod
    def build(cls, texts: Sequence[str], ids: Sequence[str], encoder: SentenceEncoder, store: Path) -> "DenseIndex":
        """Index `texts` under `ids`, one for each and none twice; the vectors are kept in the folder `store`."""
        if len(texts) != len(ids):
            raise ValueError(f"{len(texts)} texts and {len(ids)} ids")
        id_ranks = order_ids(ids)
        vectors = VectorStore(store / f"{encoder.name}.vectors", encoder.size)
        return cls(encoder, ids, id_ranks, vectors.encode_missing(texts, encoder.encode))

    def __len__(self) -> int:
        return len(self.ids)

    def search(self, query: str, k: int) -> list[Hit]:
        """The `k` texts of the highest cosine, best first, ties by id; none for a query without a character.

        The cosine is rounded to six digits: what is below is noise, which another processor has otherwise.
        """
        if k <= 0 or not query.strip():
            return []
        # Not a matrix product: BLAS adds up the last rows in another order, so that equal texts would not tie.
        scores = np.einsum("ts,s->t", self.vectors, self.encoder.encode([query])[0]).astype(np.float64).round(6)
        best = rank_scores(scores, self.id_ranks, k)
        return [Hit(self.ids[at], int(at), float(scores[at])) for at in best]
