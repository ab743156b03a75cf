"""ROUGE-L against rouge-score, and the index and the pairs against plain loops."""

from fractions import Fraction
from functools import cache

import pytest
from clones import ROOT
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from stages.core.records import load_seeds
from stages.novelty.rouge import NoveltyIndex, rouge_l, similar_pairs, tokens

SCORER = RougeScorer(["rougeL"], use_stemmer=False)
QUICK = settings(max_examples=200, deadline=None)

# Few words make long common subsequences, many make almost none.
few_words = st.lists(st.sampled_from(["as", "path", "bgp", "rib", "64500"]), max_size=14).map(" ".join)
many_words = st.lists(st.text("abz019", min_size=1, max_size=3), max_size=14).map(" ".join)
natural = st.sampled_from([seed.instruction for seed in load_seeds(ROOT / "data" / "seeds", "bgp_knowledge")])
any_text = st.text(max_size=40)
texts = st.one_of(few_words, many_words, natural, any_text)


def reference(first: str, second: str) -> float:
    return float(SCORER.score(first, second)["rougeL"].fmeasure)


def exact(first: str, second: str) -> Fraction:
    """ROUGE-L F1 with no rounding: the textbook recurrence of the longest common subsequence."""
    a, b = tokens(first), tokens(second)

    @cache
    def lcs(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return 0
        if a[i - 1] == b[j - 1]:
            return lcs(i - 1, j - 1) + 1
        return max(lcs(i - 1, j), lcs(i, j - 1))

    return Fraction(2 * lcs(len(a), len(b)), len(a) + len(b)) if a and b else Fraction(0)


@QUICK
@given(texts, texts)
@example("", "")
@example("", "a route")
@example("!?", "!?")
@example("Straße", "strasse")
@example("İstanbul K", "istanbul k")  # lower() of one character is two; the Kelvin sign is a k
@example("AS64500_AS64501", "as64500 as64501")
@example("経路 漏洩", "経路 漏洩")
def test_rouge_l_is_that_of_rouge_score(first: str, second: str) -> None:
    assert rouge_l(first, second) == pytest.approx(reference(first, second), abs=1e-12)


@QUICK
@given(texts)
def test_the_tokens_are_those_of_rouge_score(text: str) -> None:
    assert tokens(text) == SCORER._tokenizer.tokenize(text)


@QUICK
@given(texts, st.lists(texts, max_size=12))
def test_nearest_is_the_earliest_of_the_most_similar(text: str, pool: list[str]) -> None:
    index = NoveltyIndex()
    for number, other in enumerate(pool):
        index.add(f"t{number}", other)
    scores = [exact(text, other) for other in pool]
    found, score = index.nearest(text)
    if max(scores, default=0) == 0:
        assert (found, score) == (None, 0.0)
    else:
        assert found == f"t{scores.index(max(scores))}"
        assert score == pytest.approx(float(max(scores)), abs=1e-12)


def test_of_equal_texts_the_earliest_is_the_nearest() -> None:
    index = NoveltyIndex()
    for name in ("other", "first", "second"):
        index.add(name, "unrelated words" if name == "other" else "what is a route leak")
    assert index.nearest("What is a route leak?") == ("first", 1.0)
    assert index.nearest("what is a leak") == ("first", pytest.approx(8 / 9))


def test_an_empty_index_and_a_text_with_no_token_have_no_nearest() -> None:
    index = NoveltyIndex()
    assert index.nearest("what is a route leak") == (None, 0.0)
    index.add("empty", "???")
    index.add("one", "what is a route leak")
    assert index.nearest("!!!") == (None, 0.0)


def test_more_distinct_tokens_than_there_are_characters_below_the_surrogates_stay_distinct() -> None:
    """Tokens are mapped to characters; 0xD800 to 0xDFFF are none."""
    index = NoveltyIndex()
    for start in range(0, 60_000, 100):
        index.add(str(start), " ".join(f"w{number}" for number in range(start, start + 100)))
    for start in (0, 55_200, 55_300, 57_300, 59_900):
        assert index.nearest(" ".join(f"w{number}" for number in range(start, start + 100))) == (str(start), 1.0)
    assert index.nearest(" ".join(f"w{number}" for number in range(50, 150))) == ("0", 0.5)


@QUICK
@given(st.lists(texts, max_size=14), st.integers(min_value=1, max_value=20).map(lambda twentieths: twentieths / 20))
@example(["a b c d e f g", "a b c d e f g h i j k l m"], 0.7)  # 14 / 20, exactly on the threshold
@example(["a", "a b c d e f g h i j k l m n o p q r s"], 0.1)
@example(["", "", "!?"], 0.05)
def test_similar_pairs_are_those_of_a_loop_over_all_pairs(pool: list[str], threshold: float) -> None:
    limit = Fraction(str(threshold))
    pairs = [(i, j) for i in range(len(pool)) for j in range(i + 1, len(pool))]
    expected = [(i, j) for i, j in pairs if exact(pool[i], pool[j]) >= limit]
    assert sorted(similar_pairs(pool, threshold)) == expected


def test_similar_pairs_are_found_within_and_across_blocks_of_rows() -> None:
    pool = [f"unique{number} words{number} only{number}" for number in range(600)]
    for place in (3, 255, 256, 511, 512, 599):
        pool[place] = "what is a route leak"
    places = [3, 255, 256, 511, 512, 599]
    expected = [(i, j) for position, i in enumerate(places) for j in places[position + 1 :]]
    assert sorted(similar_pairs(pool, 0.7)) == expected
