"""Words of answers: rouge-score's where they are ASCII, and in every other script words, too."""

import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from netllama.novelty.rouge import compute_rouge_l, split_rouge_tokens
from netllama.scoring.answer_words import spell_words, split_words
from netllama.scoring.open_answers import measure_open_answer

LATIN = st.text(st.characters(max_codepoint=0x7F))
LETTERS = st.lists(st.text(st.sampled_from("абвгд"), min_size=1, max_size=4), max_size=8)


@given(LATIN)
def test_ascii_has_the_tokens_of_rouge_score(text: str) -> None:
    assert spell_words(text) == text
    assert split_words(text) == split_rouge_tokens(text)


@given(st.text())
def test_in_any_text_the_ascii_tokens_stay_and_letters_of_every_script_give_some(text: str) -> None:
    found, plain = split_words(text), unicodedata.normalize("NFC", text.lower())
    known = split_rouge_tokens("".join(each if each.isascii() else " " for each in plain))
    others = list((Counter(found) - Counter(known)).elements())
    assert len(others) == len(found) - len(known)
    assert bool(others) == any(each.isalnum() and not each.isascii() for each in plain)


@given(LETTERS, LETTERS)
def test_rouge_l_of_other_letters_is_that_of_the_same_words_in_latin(one: list[str], other: list[str]) -> None:
    cyrillic = [spell_words(" ".join(words)) for words in (one, other)]
    latin = [" ".join(words).translate(str.maketrans("абвгд", "abvgd")) for words in (one, other)]
    expected = RougeScorer(["rougeL"]).score(latin[1], latin[0])["rougeL"].fmeasure
    assert compute_rouge_l(*cyrillic) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("AS64500 объявил префикс.", 3),  # Russian
        ("路由泄露", 4),  # Chinese, no blanks
        ("मार्ग का रिसाव", 3),  # Hindi, with vowel signs
        ("Größe", 3),  # gr, öß..., e: what was ASCII stays
        ("100 µs", 3),
    ],
)
def test_words_are_counted_in_every_script(text: str, number: int) -> None:
    assert len(split_words(text)) == number


def test_an_open_answer_in_another_script_is_measured() -> None:
    reference = "Утечка маршрута нарушает RFC 7908. Она видна по пути AS."
    right = measure_open_answer("Утечка маршрута нарушает RFC 7908.", reference, ["Утечка маршрута нарушает RFC 7908"])
    assert right["key_facts"] == 1
    assert right["rouge_l"] > 0.6
    wrong = measure_open_answer("Не знаю.", reference, ["Утечка маршрута нарушает RFC 7908"])
    assert (wrong["key_facts"], wrong["rouge_l"]) == (0, 0)
    chinese = measure_open_answer("会话关闭。路由泄露违反策略。", "路由泄露违反策略。", [])
    assert chinese["key_facts"] == 1
