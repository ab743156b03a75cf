"""MinHash against multisets counted by hand: items, the bound that ROUGE-L sets, bands, collisions, signatures."""

import hashlib
import random
from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.novelty.minhash import (
    BANDS,
    MISSED,
    MOST_BAND_ROWS,
    SLOTS,
    UNITS,
    Items,
    choose_band_rows,
    compute_least_jaccard,
    iter_collisions,
    list_bands,
    number_occurrences,
    sign,
)
from netllama.novelty.rouge import compute_rouge_l
from netllama.novelty.token_hashes import hash_token

TEXTS = st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20), min_size=2, max_size=6)


def make_items(texts: list[list[str]]) -> Items:
    tokens = np.array([hash_token(token) for text in texts for token in text], np.uint64)
    return number_occurrences(tokens, np.cumsum([0, *map(len, texts)]).astype(np.uint64))


def list_sets(items: Items) -> list[set[int]]:
    bounds = items.starts.tolist()
    return [set(items.hashes[begin:end].tolist()) for begin, end in pairwise(bounds)]


def count_jaccard(one: list[str], other: list[str]) -> float:
    common = (Counter(one) & Counter(other)).total()
    return common / (len(one) + len(other) - common)


@given(TEXTS)
def test_items_are_a_multiset_as_a_set(texts: list[list[str]]) -> None:
    sets = list_sets(make_items(texts))
    assert [len(items) for items in sets] == [len(text) for text in texts]
    for (one, mine), (other, theirs) in combinations(zip(texts, sets, strict=True), 2):
        assert len(mine & theirs) == (Counter(one) & Counter(other)).total()


@given(
    st.lists(st.sampled_from("aaab c d"), min_size=1, max_size=12).map("".join),
    st.lists(st.sampled_from("aaab c d"), min_size=1, max_size=12).map("".join),
)
def test_no_pair_with_a_rouge_score_has_less_in_common_than_the_bound(one: str, other: str) -> None:
    mine, theirs = list(one.replace(" ", "")), list(other.replace(" ", ""))
    if mine and theirs and (score := compute_rouge_l(" ".join(mine), " ".join(theirs))):
        assert count_jaccard(mine, theirs) >= compute_least_jaccard(score) - 1e-12


def test_the_bound_is_reached_and_sets_without_numbers_or_neighbouring_words_go_below_it() -> None:
    one, other = ["the"] * 70 + [f"a{i}" for i in range(30)], ["the"] * 70 + [f"b{i}" for i in range(30)]
    assert compute_rouge_l(" ".join(one), " ".join(other)) == pytest.approx(0.7)
    assert count_jaccard(one, other) == pytest.approx(compute_least_jaccard(0.7)) == pytest.approx(7 / 13)
    assert len(set(one) & set(other)) / len(set(one) | set(other)) < 0.02
    words = [f"w{i}" for i in range(100)]
    changed = [f"x{word}" if i % 10 in (2, 5, 8) else word for i, word in enumerate(words)]
    assert compute_rouge_l(" ".join(words), " ".join(changed)) == pytest.approx(0.7)
    assert count_jaccard(*(list(map(" ".join, pairwise(text))) for text in (words, changed))) < 0.27


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 0.97, 1.0])
def test_bands_are_as_long_as_what_may_be_missed_allows(threshold: float) -> None:
    rows, least = choose_band_rows(threshold), threshold / (2 - threshold)
    assert (1 - least**rows) ** (UNITS * BANDS) <= MISSED
    assert rows == MOST_BAND_ROWS or (1 - least ** (rows + 1)) ** (UNITS * BANDS) > MISSED


def test_the_default_threshold_has_bands_of_six() -> None:
    assert choose_band_rows(0.7) == 6
    assert choose_band_rows(0.0) == 0


@pytest.mark.parametrize("rows", range(1, MOST_BAND_ROWS + 1))
def test_bands_differ_and_use_no_slot_twice(rows: int) -> None:
    bands = list_bands(rows)
    assert len({frozenset(band) for band in bands}) == BANDS
    assert all(len(set(band)) == rows and set(band) <= set(range(SLOTS)) for band in bands)
    uses = Counter(slot for band in bands for slot in band)
    assert max(uses.values()) <= -(-BANDS * rows // (SLOTS // rows * rows))


@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(1, 40))
@settings(max_examples=50)
def test_collisions_are_the_pairs_that_agree_in_a_band(seed: int, rows: int, texts: int) -> None:
    draw = np.random.default_rng(seed)
    signatures = draw.integers(0, 2, (texts, SLOTS)).astype(np.uint32)
    signatures[texts // 2 :, : SLOTS // 2] = signatures[0, : SLOTS // 2]
    found = Counter(
        (min(pair), max(pair))
        for one, other in iter_collisions(signatures, rows)
        for pair in zip(one.tolist(), other.tolist(), strict=True)
    )
    expected = {
        (first, second): number
        for first, second in combinations(range(texts), 2)
        if (number := sum((signatures[first, band] == signatures[second, band]).all() for band in list_bands(rows)))
    }
    assert found == expected


def test_a_signature_estimates_the_similarity_and_each_slot_by_itself() -> None:
    draw = random.Random(1)
    pairs = []
    for _ in range(200):
        shared = [f"s{draw.getrandbits(40)}" for _ in range(70)]
        pairs += [shared + [f"t{draw.getrandbits(40)}" for _ in range(30)] for _ in range(2)]
    signatures = sign(make_items(pairs), 512, 7)
    agree = signatures[::2] == signatures[1::2]
    assert abs(agree.mean() - 7 / 13) < 0.005
    # Twelve bands of six slots each: what independent slots would give.
    hits = agree[:, :72].reshape(200, 12, 6).all(axis=2).mean()
    assert abs(hits - (7 / 13) ** 6) < 0.01
    assert abs((signatures & 1).mean() - 0.5) < 0.01


def test_signatures_are_the_same_on_every_machine_whatever_is_signed_with_them() -> None:
    texts = [[f"word{number * step % 97}" for number in range(1, 60)] for step in range(1, 40)]
    items = make_items(texts)
    signatures = sign(items, SLOTS, 12)
    digest = hashlib.sha256(signatures.astype("<u4").tobytes()).hexdigest()
    assert digest == "1b57c1e3a5e203c3df3f4e2752941fcc3e1f24f83f0a9b882d04aef2afcca28b"
    assert (sign(make_items(texts[5:6]), SLOTS, 12) == signatures[5]).all()
    assert (sign(make_items([texts[5][::-1]]), SLOTS, 12) == signatures[5]).all()
    assert not (sign(items, SLOTS, 13) == signatures).any(axis=1).all()
