"""Folders of documents as chunks and an index of them, by words and if asked for by meaning, kept for the next time.

What is kept is keyed by all that it depends on: the files' names and bytes, the tokenizer, the size of a chunk, and the
code that reads, cuts and indexes. So nothing is ever stale, and an index is built once. Vectors are kept by the text
that they stand for, so that an edit makes those of the changed chunks anew and no other.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_low

from netllama.core.files import (
    atomic_path,
    ensure_scratch_folder,
    hash_file,
    hash_json,
    read_json,
    read_jsonl,
    write_json,
    write_jsonl,
)
from netllama.core.kept_folders import find_damage, record_hashes
from netllama.core.locks import hold_lock
from netllama.core.records import Record, parse_as
from netllama.core.retrieve_section import DenseModel
from netllama.documents.chunk_file import ChunkFile, iter_chunks, write_chunks
from netllama.documents.corpus import CorpusReading, read_corpus
from netllama.documents.cutting import cut_documents
from netllama.documents.document import Chunk, Document, show_chunk
from netllama.documents.dropped import Dropped
from netllama.documents.token_counting import load_token_counter
from netllama.models.model_reference import find_cache_folder
from netllama.retrieval.dense_index import DenseIndex
from netllama.retrieval.fusion import fuse_rankings
from netllama.retrieval.lexical_index import LexicalIndex
from netllama.retrieval.sentence_encoder import SentenceEncoder, ensure_encoder

FUSED = 100
"""Texts of each ranking that are fused, at least: how many are asked for must not change which ones come first."""

_ROOMS = (Path(__file__).parent, Path(__file__).parent.parent / "retrieval")
_CHUNKS, _DROPPED, _SUMMARY, _INDEX = "chunks.jsonl", "dropped.jsonl", "summary.json", "index"


class CorpusSummary(Record):
    """What was read, in numbers."""

    documents: dict[str, int]
    """By format."""
    sections: int
    chunks: int
    least_tokens: int
    median_tokens: int
    most_tokens: int
    tokens: int
    """Of all chunks."""


@dataclass(frozen=True)
class FoundChunk:
    chunk: Chunk
    score: float


@dataclass(frozen=True)
class IndexedCorpus:
    folder: Path
    """Where it is kept."""
    summary: CorpusSummary
    dropped: list[Dropped]
    chunks: ChunkFile
    index: LexicalIndex
    dense: DenseIndex | None = None
    """None: chunks are found by their words alone."""

    @classmethod
    def open(cls, folder: Path) -> "IndexedCorpus":
        return cls(
            folder,
            parse_as(CorpusSummary, read_json(folder / _SUMMARY)),
            read_jsonl(folder / _DROPPED, lambda row: parse_as(Dropped, row)),
            ChunkFile(folder / _CHUNKS),
            LexicalIndex.open(folder / _INDEX),
        )

    @property
    def list_of_dropped(self) -> Path:
        return self.folder / _DROPPED

    def search(self, query: str, k: int) -> list[FoundChunk]:
        """The best `k` chunks, best first; by words alone fewer where fewer hold a word of the query."""
        if self.dense:
            depth = max(k, FUSED)
            hits = fuse_rankings([self.index.search(query, depth), self.dense.search(query, depth)], k)
        else:
            hits = self.index.search(query, k)
        return [FoundChunk(self.chunks.read(hit.position), hit.score) for hit in hits]

    def add_dense(self, encoder: SentenceEncoder) -> "IndexedCorpus":
        """The same, searched by meaning as well."""
        chunks = list(iter_chunks(self.folder / _CHUNKS))
        texts = [show_chunk(chunk.headings, chunk.text) for chunk in chunks]
        store = ensure_scratch_folder("vectors")
        return replace(self, dense=DenseIndex.build(texts, [chunk.id for chunk in chunks], encoder, store))


def index_corpus(folders: Sequence[Path], tokenizer: Path, max_tokens: int, dense: DenseModel = "") -> IndexedCorpus:
    """The index of what the folders hold now: the kept one, or a new one.

    Raises StageError for a folder that is missing or holds nothing that can be read.
    """
    reading = read_corpus(folders)
    count_tokens = load_token_counter(tokenizer)
    kept = ensure_scratch_folder("index")
    code = [hash_file(path) for room in _ROOMS for path in sorted(room.glob("*.py"))]
    key = hash_json([reading.hash_files(), hash_file(tokenizer / "tokenizer.json"), max_tokens, code])[:16]
    with hold_lock(kept / f"{key}.lock", "indexes the same documents"):
        if damage := find_damage(kept / key):
            if (kept / key).is_dir():
                print(f"{kept / key}: {damage}; the documents are indexed again", flush=True)
            with atomic_path(kept / key) as temporary:
                temporary.mkdir()
                tally = _Tally()
                chunks = cut_documents(tally.count_sections(reading.documents), max_tokens, count_tokens)
                write_chunks(temporary / _CHUNKS, tally.count_chunks(chunks))
                write_jsonl(temporary / _DROPPED, [dropped.model_dump() for dropped in reading.dropped])
                write_json(temporary / _SUMMARY, tally.summarise(reading).model_dump())
                texts = (show_chunk(chunk.headings, chunk.text) for chunk in iter_chunks(temporary / _CHUNKS))
                LexicalIndex.build(texts, tally.ids).save(temporary / _INDEX)
                record_hashes(temporary)
    corpus = IndexedCorpus.open(kept / key)
    return corpus.add_dense(SentenceEncoder(ensure_encoder(find_cache_folder()))) if dense else corpus


class _Tally:
    """Counts what streams through it."""

    def __init__(self) -> None:
        self.sections = 0
        self.tokens = array("l")
        self.ids: list[str] = []

    def count_sections(self, documents: Iterator[Document]) -> Iterator[Document]:
        for document in documents:
            self.sections += len(document.sections)
            yield document

    def count_chunks(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            self.tokens.append(chunk.tokens)
            self.ids.append(chunk.id)
            yield chunk

    def summarise(self, reading: CorpusReading) -> CorpusSummary:
        return CorpusSummary(
            documents=dict(sorted(reading.counts.items())),
            sections=self.sections,
            chunks=len(self.ids),
            least_tokens=min(self.tokens),
            median_tokens=median_low(self.tokens),
            most_tokens=max(self.tokens),
            tokens=sum(self.tokens),
        )
