"""ROUGE-L against rouge-score, to the last bit."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from netllama.core.records import load_seeds
from netllama.novelty.rouge import Alphabet, compute_rouge_l, split_rouge_tokens
from tests.support.clones import ROOT

SCORER = RougeScorer(["rougeL"], use_stemmer=False)
QUICK = settings(max_examples=60)

# Few words make long common subsequences, many make almost none.
few_words = st.lists(st.sampled_from(["as", "path", "bgp", "rib", "64500"]), max_size=14).map(" ".join)
many_words = st.lists(st.text("abz019", min_size=1, max_size=3), max_size=14).map(" ".join)
natural = st.sampled_from([seed.instruction for seed in load_seeds(ROOT / "data" / "seeds", "bgp_knowledge")])
any_text = st.text(max_size=40)
texts = st.one_of(few_words, many_words, natural, any_text)


def reference(first: str, second: str) -> float:
    return float(SCORER.score(first, second)["rougeL"].fmeasure)


@QUICK
@given(texts, texts)
@example("", "")
@example("", "a route")
@example("!?", "!?")
@example("Straße", "strasse")
@example("İstanbul K", "istanbul k")  # lower() of one character is two; the Kelvin sign is a k
@example("AS64500_AS64501", "as64500 as64501")
@example("経路 漏洩", "経路 漏洩")
@example("a b c d e f g", "a b c d e f g h i j k l m")  # 0.7000000000000001 to rouge-score, 0.7 to division
def test_rouge_l_is_that_of_rouge_score_to_the_last_bit(first: str, second: str) -> None:
    assert compute_rouge_l(first, second) == reference(first, second)


def nested(shared: int, first: int, second: int) -> tuple[str, str]:
    """Texts of `first` and `second` tokens with a longest common subsequence of `shared`."""
    common = [f"c{number}" for number in range(shared)]
    return (
        " ".join(common + [f"a{number}" for number in range(first - shared)]),
        " ".join([f"b{number}" for number in range(second - shared)] + common),
    )


@pytest.mark.parametrize(
    ("threshold", "numerator", "denominator"), [(0.5, 1, 2), (2 / 3, 2, 3), (0.7, 7, 10), (0.8, 4, 5), (0.9, 9, 10)]
)
def test_a_threshold_hit_exactly_is_decided_as_by_rouge_score(
    threshold: float, numerator: int, denominator: int
) -> None:
    lengths = [(first, second) for first in range(1, 41) for second in range(1, 41)]
    hits = 0
    for first, second in lengths:
        shared, rest = divmod(numerator * (first + second), 2 * denominator)
        if rest == 0 and shared <= min(first, second):
            pair = nested(shared, first, second)
            assert (compute_rouge_l(*pair) > threshold) == (reference(*pair) > threshold)
            assert (compute_rouge_l(*pair) >= threshold) == (reference(*pair) >= threshold)
            hits += 1
    assert hits > 10


@QUICK
@given(texts)
def test_the_tokens_are_those_of_rouge_score(text: str) -> None:
    assert split_rouge_tokens(text) == SCORER._tokenizer.tokenize(text)


@pytest.mark.parametrize("characters", [10**6, 2])
def test_tokens_that_no_text_has_are_one_symbol_and_leave_the_alphabet_as_it_is(
    characters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netllama.novelty.rouge.CHARACTERS", characters)
    alphabet = Alphabet()
    known = alphabet.encode("a route of an as")
    assert alphabet.encode_known(["a", "route", "of", "an", "as"]) == known
    found = alphabet.encode_known(["an", "as", "leaks", "a", "route"])
    assert [found[0], found[1], found[3], found[4]] == [known[3], known[4], known[0], known[1]]
    assert found[2] == alphabet.encode_known(["steals"])[0]
    assert found[2] not in known
    assert alphabet.encode("leaks")[0] not in [*known, found[2]]
