"""How often a search of the project's notes finds the one that answers a question: own terms against their peers.

The questions are those of data/questions/ that a note of data/corpus/ answers (tests/data/corpus_answers.py says
which); what is indexed are whole notes, and their sections. Beside the project's terms: the same without dropping the
plural's s, bm25s with its own tokenizer and English stop words, MiniLM, and the fusion of words and MiniLM.

Run    python -m bench.retrieval_quality [--check]    (--check: exit code 1 if a target is missed)
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from unittest.mock import patch

from bench.hardware import describe_hardware
from netllama.core.files import ensure_scratch_folder
from netllama.models.model_reference import find_cache_folder
from netllama.retrieval import terms
from netllama.retrieval.dense_index import DenseIndex
from netllama.retrieval.fusion import fuse_rankings
from netllama.retrieval.hits import Hit
from netllama.retrieval.lexical_index import LexicalIndex
from netllama.retrieval.ranking_measures import RankingQuality
from netllama.retrieval.sentence_encoder import SentenceEncoder, ensure_encoder
from netllama.statistics.intervals import IntervalEstimate
from tests.support.corpus_search import NoteSearch, Passage, list_passages, list_searches, measure_search

LEAST_RECALL = 0.96
"""Of the note at 3, searching for sections by words."""
Search = Callable[[str, int], list[Hit]]
Unit = Literal["note", "section"]


def search_with_bm25s(texts: list[str], ids: list[str]) -> Search:
    """The peer as its README shows it."""
    import bm25s

    def split(texts: list[str]) -> object:
        return bm25s.tokenize(texts, stopwords="en", show_progress=False)

    index = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    index.index(split(texts), show_progress=False)

    def search(query: str, k: int) -> list[Hit]:
        places, scores = index.retrieve(split([query]), k=min(k, len(texts)), show_progress=False)
        return [Hit(ids[at], int(at), float(score)) for at, score in zip(places[0], scores[0], strict=True)]

    return search


def measure_unit(unit: Unit, encoder: SentenceEncoder, store: Path) -> dict[str, RankingQuality]:
    """The quality of each kind of search, by its name."""
    passages, searches = list_passages(unit), list_searches()
    texts, ids = [passage.text for passage in passages], [passage.id for passage in passages]
    words = LexicalIndex.build(texts, ids)
    dense = DenseIndex.build(texts, ids, encoder, store)

    def fuse(query: str, k: int) -> list[Hit]:
        return fuse_rankings([words.search(query, k), dense.search(query, k)], k)

    kinds: dict[str, Search] = {
        "own terms": words.search,
        "bm25s with its own tokenizer": search_with_bm25s(texts, ids),
        "MiniLM": dense.search,
        "own terms and MiniLM, fused": fuse,
    }
    found = {name: measure_search(passages, searches, search) for name, search in kinds.items()}
    kept = {"own terms, plurals kept": measure_without_stemming(passages, searches)}
    return {"own terms": found["own terms"]} | kept | found


def measure_without_stemming(passages: list[Passage], searches: list[NoteSearch]) -> RankingQuality:
    terms._terms_of.clear()
    with patch.object(terms, "_drop_plural", lambda written, word: word):
        index = LexicalIndex.build([passage.text for passage in passages], [passage.id for passage in passages])
        quality = measure_search(passages, searches, index.search)
    terms._terms_of.clear()
    return quality


def show(estimate: IntervalEstimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description="Whether a search finds the note that answers a question.")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    check = parser.parse_args().check
    encoder = SentenceEncoder(ensure_encoder(find_cache_folder()))
    units: tuple[Unit, ...] = ("note", "section")
    found = {unit: measure_unit(unit, encoder, ensure_scratch_folder("vectors")) for unit in units}

    print(f"{describe_hardware()}; {len(list_searches())} questions, {len(list_passages('note'))} notes\n")
    print("| indexed | searched by | right note first | among 3 | among 10 | MRR@10 | nDCG@10 |")
    print("|---|---|---|---|---|---|---|")
    for unit, kinds in found.items():
        for name, quality in kinds.items():
            recall = " | ".join(show(quality.recall[cutoff]) for cutoff in (1, 3, 10))
            print(f"| {unit}s | {name} | {recall} | {quality.reciprocal_rank.value:.3f} | {quality.ndcg.value:.3f} |")
    ours = found["section"]["own terms"].recall[3].value
    peer = found["section"]["bm25s with its own tokenizer"].recall[3].value
    print(f"\nsections by words: the right note is among 3 for {ours:.1%} of the questions, with bm25s for {peer:.1%}")
    if check and not (ours >= LEAST_RECALL and ours > peer):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
