"""Near pairs by MinHash against the index, which finds all of them: no pair too many, and hardly one too few."""

import random
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.synthetic_pool import make_pool
from netllama.contamination.common_text import CommonText
from netllama.novelty import near_pairs
from netllama.novelty.distinct_texts import NO_TEXT, DistinctTexts
from netllama.novelty.minhash import UNITS
from netllama.novelty.near_pairs import NearPairs, PairSearch, Wanted, hash_texts, is_small, join_pairs
from netllama.novelty.novelty_index import NoveltyIndex
from netllama.novelty.rouge import TOLERANCE

Found = dict[tuple[int, int], float]
VOCABULARY = ["as", "bgp", "hold", "timer", "0", "0ip", "is", "the"]
TEXTS = st.lists(st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=8), max_size=12)


def search(texts: list[list[str]], threshold: float, seed: int = 0) -> Found:
    searched = PairSearch(hash_texts(texts, seed), Wanted(threshold, seed))
    return as_dict(join_pairs([searched.find(unit) for unit in range(UNITS)]))


def as_dict(pairs: NearPairs) -> Found:
    listed = list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert listed == sorted(set(listed))
    return dict(zip(listed, pairs.score.tolist(), strict=True))


def search_all(texts: list[list[str]], threshold: float) -> Found:
    index = NoveltyIndex()
    found = {}
    for second, text in enumerate(map(" ".join, texts)):
        found |= {(first, second): score for first, score in index.find_matches(text, threshold - TOLERANCE)}
        index.add("", text)
    return found


@settings(max_examples=60)
@given(TEXTS, st.sampled_from([0.6, 0.7, 0.75, 0.9, 1.0]))
def test_each_pair_that_is_found_is_one_and_has_its_score_to_the_last_bit(
    texts: list[list[str]], threshold: float
) -> None:
    found, all_pairs = search(texts, threshold), search_all(texts, threshold)
    assert found.items() <= all_pairs.items()
    # What is missed is at the bound.
    assert all(all_pairs[pair] < threshold + 0.05 for pair in all_pairs.keys() - found.keys())


def test_the_pairs_of_a_pool_with_planted_near_duplicates_are_all_found() -> None:
    rows = list(make_pool(1500, seed=3, planted=0.4))
    common = CommonText(rows, 13)
    texts = [text.split() for text in dict.fromkeys(map(common.state_own, rows))]
    expected = search_all(texts, 0.7)
    assert len(expected) > 500
    assert min(expected.values()) < 0.71
    assert search(texts, 0.7) == expected
    assert search(texts, 0.7, seed=1) == expected


def test_of_pairs_at_the_very_bound_hardly_any_is_missed() -> None:
    draw = random.Random(5)
    texts = []
    for _ in range(2000):
        shared = [f"s{draw.getrandbits(40):x}" for _ in range(28)]
        texts += [[*shared, *(f"o{draw.getrandbits(40):x}" for _ in range(12))] for _ in range(2)]
    found = search(texts, 0.7)
    assert {second - first for first, second in found} == {1}
    assert set(found.values()) == {0.7}
    assert 1990 <= len(found) <= 2000


def test_tokens_that_no_character_is_left_for_are_compared_as_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(2)
    words = [f"w{number}" for number in range(30)]
    texts = [draw.choices(words, k=12) for _ in range(60)]
    texts += [[*text[:9], "once", f"only{number}", "twice"] for number, text in enumerate(texts)]
    expected = search(texts, 0.7)
    assert len(expected) > 50
    monkeypatch.setattr(near_pairs, "_SHARED", sys.maxunicode - 10)
    assert search(texts, 0.7) == expected


def test_only_pairs_around_the_border_are_found_and_a_lower_floor_lets_more_through() -> None:
    texts = [text.split() for text in ("a b c d e f g h", "a b c d e f g x", "a b c d e f g y", "a b c d e z y x")]

    def find(number: int, wanted: Wanted) -> Found:
        searched = PairSearch(hash_texts(texts[:number]), wanted)
        return as_dict(join_pairs([searched.find(unit) for unit in range(UNITS)]))

    assert find(3, Wanted(0.7, border=2)) == {(0, 2): 0.875, (1, 2): 0.875}
    assert {(1, 3), (2, 3)} <= find(4, Wanted(0.7, floor=0.5)).keys()


def test_no_texts_have_no_pairs() -> None:
    assert search([], 0.7) == {}
    assert search([["bgp"]], 0.7) == {}
    assert search([["bgp"], ["ospf"]], 0.7) == {}


def test_how_a_pool_is_compared_depends_on_its_size_and_on_the_threshold_alone() -> None:
    assert is_small(near_pairs.EXACT_ROWS, 0.7)
    assert not is_small(near_pairs.EXACT_ROWS + 1, 0.7)
    assert is_small(10_000_000, 0.5)
    assert [is_small(10_000_000, threshold) for threshold in (0.55, 0.56)] == [True, False]


def test_texts_are_numbered_as_they_come_and_one_without_a_token_is_none() -> None:
    texts = DistinctTexts()
    assert list(texts.number_texts(["a b", "", "c", "a b", "c d", ""])) == [["a", "b"], ["c"], ["c", "d"]]
    assert list(texts.of_rows) == [0, NO_TEXT, 1, 0, 2, NO_TEXT]
    other = DistinctTexts()
    assert list(other.number_texts(["a b", "c", "c d"]))
    assert other.hash_texts() == texts.hash_texts()
    assert np.array_equal(other.of_rows, [0, 1, 2])
