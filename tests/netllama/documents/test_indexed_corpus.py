"""A corpus that is searched by meaning as well: the fusion of both rankings, vectors that are made once, and by words
alone nothing of it."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from netllama.documents import indexed_corpus
from netllama.documents.chunk_file import iter_chunks
from netllama.documents.document import show_chunk
from netllama.documents.indexed_corpus import IndexedCorpus, index_corpus
from netllama.retrieval.sentence_encoder import SentenceEncoder
from tests.support.tiny_encoder import WORDS, make_tiny_encoder
from tests.support.tokenizers_of_kinds import make_byte_level

TOKENIZER = Path("models/tokenizer")
QUERIES = ("hold timer", "the route of a peer", "prefix origin update", "session")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: Path) -> Path:
    """A folder of notes, each with three words of the encoder's and one of its own; the encoder is not downloaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(indexed_corpus, "ensure_encoder", lambda cache: encoder)
    make_byte_level("smollm").save_pretrained(TOKENIZER)
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(40):
        words = [WORDS[(number * step + step) % len(WORDS)] for step in (1, 3, 5)]
        (folder / f"note{number}.md").write_text(f"# Note {number}\n\nUnique{number} {' '.join(words)}.\n")
    return folder


def open_corpus(notes: Path, dense: bool) -> IndexedCorpus:
    return index_corpus([notes], TOKENIZER, 64, "minilm" if dense else "")


def list_ids(corpus: IndexedCorpus, query: str, k: int) -> list[str]:
    return [found.chunk.id for found in corpus.search(query, k)]


def fuse_by_hand(corpus: IndexedCorpus, encoder: Path, query: str) -> list[str]:
    """All chunks that one of the two rankings holds, by the sum of 1 / (60 + rank), ties by id."""
    chunks = list(iter_chunks(corpus.folder / "chunks.jsonl"))
    vectors = SentenceEncoder(encoder).encode([show_chunk(chunk.headings, chunk.text) for chunk in chunks])
    cosines = [round(float(cosine), 6) for cosine in vectors @ SentenceEncoder(encoder).encode([query])[0]]
    by_meaning = [chunks[at].id for at in sorted(range(len(chunks)), key=lambda at: (-cosines[at], chunks[at].id))]
    by_words = [hit.id for hit in corpus.index.search(query, len(chunks))]
    scores: dict[str, float] = defaultdict(float)
    for ranking in (by_words, by_meaning):
        for rank, name in enumerate(ranking, start=1):
            scores[name] += 1 / (60 + rank)
    return sorted(scores, key=lambda name: (-round(scores[name], 12), name))


def test_both_rankings_are_fused_and_the_number_asked_for_changes_no_order(notes: Path, encoder: Path) -> None:
    corpus = open_corpus(notes, dense=True)
    by_words = open_corpus(notes, dense=False)
    for query in QUERIES:
        expected = fuse_by_hand(corpus, encoder, query)
        assert len(expected) == 40
        assert list_ids(corpus, query, 40) == expected
        for k in (1, 3, 7):
            assert list_ids(corpus, query, k) == expected[:k]
    assert any(list_ids(corpus, query, 3) != list_ids(by_words, query, 3) for query in QUERIES)


def test_by_meaning_a_query_finds_chunks_that_share_no_word_with_it(notes: Path) -> None:
    assert open_corpus(notes, dense=False).search("neighbour", 3) == []
    assert len(open_corpus(notes, dense=True).search("neighbour", 3)) == 3


def test_a_chunk_is_encoded_once_and_after_an_edit_only_what_changed(
    notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    encode = SentenceEncoder.encode

    def watch(self: SentenceEncoder, texts: list[str]) -> "np.ndarray":
        encoded.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(SentenceEncoder, "encode", watch)
    first = open_corpus(notes, dense=True)
    assert len(encoded) == len(set(encoded)) == 40
    again = open_corpus(notes, dense=True)
    assert len(encoded) == 40
    assert first.dense
    assert again.dense
    assert again.dense.vectors.tobytes() == first.dense.vectors.tobytes()
    (notes / "note7.md").write_text("# Note 7\n\nThe hold timer.\n")
    assert len(open_corpus(notes, dense=True).search("hold", 40)) == 40
    assert encoded[40:] == ["Note 7\nThe hold timer.", "hold"]


def test_by_words_alone_no_encoder_is_loaded_and_what_is_kept_is_the_same(
    notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexed_corpus, "ensure_encoder", lambda cache: pytest.fail("loads the encoder"))
    plain = open_corpus(notes, dense=False)
    kept = {path.name: path.read_bytes() for path in sorted(plain.folder.rglob("*")) if path.is_file()}
    found = [plain.search(query, 5) for query in QUERIES]
    assert not Path(".scratch/vectors").exists()
    monkeypatch.undo()
    monkeypatch.chdir(notes.parent)
    monkeypatch.setattr(indexed_corpus, "ensure_encoder", lambda cache: make_tiny_encoder(notes.parent / "encoder"))
    fused = open_corpus(notes, dense=True)
    assert fused.folder == plain.folder
    assert {path.name: path.read_bytes() for path in sorted(fused.folder.rglob("*")) if path.is_file()} == kept
    assert [open_corpus(notes, dense=False).search(query, 5) for query in QUERIES] == found
