"""Search by words: BM25's scores to the bit, all that is found and nothing else, in one order; a damaged index is
refused."""

import math
from collections import Counter
from pathlib import Path

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.core.errors import StageError
from netllama.core.files import read_json, write_json
from netllama.retrieval import lexical_index, term_counts
from netllama.retrieval.hits import Hit
from netllama.retrieval.lexical_index import FILES, LexicalIndex
from netllama.retrieval.terms import split_terms

WORDS = ["bgp", "route", "AS64500", "10.0.0.0/8", "LOCAL_PREF", "hold", "timer", "the", "café"]
texts_of_words = st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), max_size=30)
queries = st.lists(st.sampled_from([*WORDS, "unknown", "AS_PATH"]), max_size=6).map(" ".join)


def score_by_loop(texts: list[str], query: str) -> list[float]:
    """BM25 as it is written down, text by text: each term's part in single precision, as it is stored."""
    documents = [Counter(split_terms(text)) for text in texts]
    mean = sum(document.total() for document in documents) / len(texts)
    scores = []
    for document in documents:
        score = 0.0
        for term in split_terms(query):
            if times := document[term]:
                holders = sum(term in other for other in documents)
                rarity = np.float32(math.log(1 + (len(texts) - holders + 0.5) / (holders + 0.5)))
                damping = 1.5 * (0.25 + 0.75 * document.total() / mean)
                score += float(np.float32(float(rarity) * (times / (damping + times))))
        scores.append(score)
    return scores


def search_by_loop(texts: list[str], ids: list[str], query: str, k: int) -> list[Hit]:
    hits = [Hit(ids[at], at, score) for at, score in enumerate(score_by_loop(texts, query)) if score > 0]
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k]


def build_index(texts: list[str]) -> LexicalIndex:
    return LexicalIndex.build(texts, name_texts(texts))


def name_texts(texts: list[str]) -> list[str]:
    """Ids whose order is not the order of the texts."""
    return [f"note#{(7 * at) % 31}" for at in range(len(texts))]


@settings(max_examples=60)
@given(texts_of_words, queries, st.integers(1, 40))
def test_a_search_finds_what_a_loop_over_all_texts_finds(texts: list[str], query: str, k: int) -> None:
    found = build_index(texts).search(query, k)
    assert found == (search_by_loop(texts, name_texts(texts), query, k) if texts else [])


@settings(max_examples=60)
@given(texts_of_words, queries)
def test_the_scores_are_those_of_bm25s(texts: list[str], query: str) -> None:
    peer = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    if not any(split_terms(text) for text in texts):
        return
    peer.index([split_terms(text) for text in texts], show_progress=False)
    known = [term for term in split_terms(query) if term in peer.vocab_dict]
    expected = peer.get_scores(known) if known else np.zeros(len(texts))
    scores = {hit.position: hit.score for hit in build_index(texts).search(query, len(texts))}
    assert set(scores) == set(np.flatnonzero(expected))
    for position, score in scores.items():
        assert score == pytest.approx(expected[position], rel=1e-6)
    matrix = build_index(texts).matrix
    for term, number in peer.vocab_dict.items():
        if (place := matrix.terms.find(term)) is not None:
            start, end = peer.scores["indptr"][number : number + 2]
            ours = slice(*matrix.starts[place : place + 2])
            assert matrix.texts[ours].tolist() == peer.scores["indices"][start:end].tolist()
            assert matrix.scores[ours].tobytes() == peer.scores["data"][start:end].tobytes()


def test_common_terms_that_are_looked_up_for_candidates_only_change_no_score() -> None:
    # 3,000 texts of rare and of common words, so that the search stops adding up whole columns.
    random = np.random.default_rng(5)
    texts = [" ".join(f"w{int(word)}" for word in random.zipf(1.3, 30) if word < 5_000) for _ in range(3_000)]
    index = build_index_in_order(texts)
    for query in (texts[17], "w1 w2 w3 w900 w1200", "w1 w1 w1 w2", f"{texts[4]} {texts[5]}"):
        for k in (1, 4, 50):
            hits = index.search(query, k)
            documents = index.search(query, 10_000)
            assert hits == documents[:k]
    expected = score_by_loop(texts[:300], texts[17])
    found = {hit.position: hit.score for hit in build_index_in_order(texts[:300]).search(texts[17], 300)}
    assert found == {at: score for at, score in enumerate(expected) if score}


def build_index_in_order(texts: list[str]) -> LexicalIndex:
    return LexicalIndex.build(texts, [f"{at:05}" for at in range(len(texts))])


def test_equal_texts_come_in_the_order_of_their_ids_and_zero_scores_not_at_all() -> None:
    index = LexicalIndex.build(["hold timer"] * 50 + ["route"], [f"{50 - at:02}" for at in range(51)])
    assert [hit.id for hit in index.search("hold", 4)] == ["01", "02", "03", "04"]
    assert [hit.position for hit in index.search("hold", 2)] == [49, 48]
    assert len(index.search("hold", 1_000)) == 50
    assert index.search("nothing like it", 3) == index.search("", 3) == index.search("the", 3) == []
    assert index.search("hold", 0) == []


def test_no_text_or_only_empty_texts_make_an_index_that_finds_nothing(tmp_path: Path) -> None:
    for texts in ([], ["", "the"]):
        build_index(texts).save(tmp_path / "index")
        assert LexicalIndex.open(tmp_path / "index").search("route", 3) == []


def test_an_id_for_each_text_and_none_twice() -> None:
    with pytest.raises(StageError, match="id a is used twice: by texts 1 and 3"):
        LexicalIndex.build(["x", "y", "z"], ["a", "b", "a"])
    with pytest.raises(ValueError, match="2 texts and 1 ids"):
        LexicalIndex.build(["x", "y"], ["a"])


@settings(max_examples=20)
@given(texts=texts_of_words, batch=st.integers(1, 7))
def test_the_size_of_batches_and_forgetting_change_no_byte(texts: list[str], batch: int) -> None:
    whole = build_index(texts)._list_arrays()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(term_counts, "BATCH", batch)
        patch.setattr(term_counts, "MOST_REMEMBERED", 2)
        for name, array in build_index(texts)._list_arrays().items():
            assert array.dtype == whole[name].dtype
            assert array.tobytes() == whole[name].tobytes(), name


def test_more_processes_change_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"route {at} of AS{64500 + at % 7}" for at in range(90)]
    whole = build_index_in_order(texts)._list_arrays()
    monkeypatch.setattr(term_counts, "BATCH", 20)
    monkeypatch.setattr(term_counts, "TEXTS_FOR_A_WORKER", 45)
    monkeypatch.setattr(term_counts, "count_cores", lambda: 2)
    for name, array in build_index_in_order(texts)._list_arrays().items():
        assert array.tobytes() == whole[name].tobytes(), name


TEXTS = ["hold timer of AS64500", "route 10.0.0.0/8", "café, hold"]


def test_an_opened_index_finds_the_same_and_is_mapped(tmp_path: Path) -> None:
    index = build_index(TEXTS)
    index.save(tmp_path / "new" / "index")
    opened = LexicalIndex.open(tmp_path / "new" / "index")
    for query in ("hold", "64500 café", "10.0.0.0/8"):
        assert opened.search(query, 3) == index.search(query, 3) != []
    assert isinstance(opened.matrix.scores.base, np.memmap)
    assert len(opened) == 3
    build_index(TEXTS[:1]).save(tmp_path / "new" / "index")
    assert len(LexicalIndex.open(tmp_path / "new" / "index")) == 1
    assert opened.search("café", 3) == index.search("café", 3)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_or_missing_file_is_named_in_one_line(name: str, tmp_path: Path) -> None:
    build_index(TEXTS).save(tmp_path / "index")
    path = tmp_path / "index" / name
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 128]) + whole[middle + 1 :]
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), flipped, whole + bytes(8), b""):
        path.write_bytes(damaged)
        with pytest.raises(StageError) as caught:
            LexicalIndex.open(tmp_path / "index")
        assert str(caught.value) == (
            f"{tmp_path}/index: can't use this index ({name} is damaged); delete the folder and index again"
        )
    path.unlink()
    with pytest.raises(StageError, match=rf"\({name} is missing\); delete the folder and index again"):
        LexicalIndex.open(tmp_path / "index")


@pytest.mark.parametrize(
    "change", [{"format": 0}, {"rules": 0}, {"k1": 1.2}, {"new": 1}, {"checksums": {}}, {"b": "x"}]
)
def test_an_index_of_other_rules_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    build_index(TEXTS).save(tmp_path / "index")
    contents = tmp_path / "index" / lexical_index.CONTENTS
    write_json(contents, read_json(contents) | change)
    with pytest.raises(StageError, match=r"^.*index: can't use this index \(.*\); delete the folder and index again$"):
        LexicalIndex.open(tmp_path / "index")


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"can't use this index \(.*no such file\)"):
        LexicalIndex.open(tmp_path)
