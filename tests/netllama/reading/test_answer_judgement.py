"""What an answer is worth, against references that know of each word what it is, because they wrote it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.reading.answer_judgement import (
    find_inventions,
    find_quotes,
    is_exact,
    is_quoted_from,
    normalise,
    says,
    split_answer,
)
from netllama.rendering.document_texts import REFUSAL, cite_document

Word = tuple[str, str]
"""A kind, and the word as it is written."""
PLAIN = ["collector", "kakil", "route", "peers", "withdrawn", "cell", "the"]
digits = st.integers(1, 99)
WORDS: dict[str, st.SearchStrategy[str]] = {
    "system": st.integers(64500, 64510).map("AS{}".format),
    "time": st.tuples(digits, digits).map(lambda pair: f"{pair[0] % 24:02}:{pair[1] % 60:02}:00"),
    "number": digits.map(str) | digits.map(lambda number: f"{number / 10}"),
    "prefix": st.tuples(digits, st.sampled_from([8, 24])).map(lambda pair: f"{pair[0]}.0.0.0/{pair[1]}")
    | digits.map("2001:db8:{}::/48".format),
    "cell": st.tuples(st.sampled_from(["GXX", "NTB"]), st.integers(1, 3)).map(lambda pair: f"{pair[0]}-{pair[1]}"),
    "plain": st.sampled_from(PLAIN),
}
VALUED = [kind for kind in WORDS if kind != "plain"]
word = st.sampled_from(list(WORDS)).flatmap(lambda kind: st.tuples(st.just(kind), WORDS[kind]))
valued = st.sampled_from(VALUED).flatmap(lambda kind: st.tuples(st.just(kind), WORDS[kind]))
sentence = st.lists(word, max_size=14)
mark = st.sampled_from(["", "", ",", ".", ";", "?", ")", " -"])


@st.composite
def text_of(draw: st.DrawFn, words: list[Word]) -> str:
    """The words with punctuation, and in any case."""
    written = " ".join(text + draw(mark) for _, text in words)
    return draw(st.sampled_from([written, written.lower(), written.upper(), written.replace(" ", "  \n")]))


@given(sentence, valued, sentence, st.data())
def test_a_value_is_said_where_it_stands_and_no_other_of_its_kind_that_the_question_does_not_name(
    words: list[Word], expected: Word, asked: list[Word], data: st.DataObject
) -> None:
    if data.draw(st.booleans()):
        words = [*words, expected]
    kind = expected[0]
    others = {text for other, text in words if other == kind and text != expected[1]}
    right = expected in words and others <= {text for _, text in asked}
    text, question = data.draw(text_of(words)), data.draw(text_of(asked))
    assert says(text, expected[1], question) is right


@given(sentence, digits, st.sampled_from(["ms", "dBm", "%"]), st.data())
def test_a_number_with_its_unit_stands_together(words: list[Word], value: int, unit: str, data: st.DataObject) -> None:
    words = [(kind, text) for kind, text in words if kind != "number"]
    before, after = data.draw(text_of(words)), data.draw(text_of(words))
    assert says(f"{before} {value} {unit} {after}", f"{value} {unit}", "How much?")
    assert says(f"{before} {value}{unit} {after}", f"{value} {unit}", "How much?")
    assert find_inventions(f"{value}{unit}", [f"It was {value} {unit}."]) == []
    assert find_inventions(f"{value + 1}{unit}", [f"It was {value} {unit}."]) == [str(value + 1)]
    assert not says(f"{before} {unit} {value} {after}", f"{value} {unit}", "How much?")
    assert not says(f"{before} {value} {unit} {value + 1} {after}", f"{value} {unit}", "How much?")


@given(st.lists(st.sampled_from(["yes", "no", "as long", "longer", *PLAIN]), max_size=20), st.data())
def test_of_some_choices_exactly_one_is_said(words: list[str], data: st.DataObject) -> None:
    choices = data.draw(st.sampled_from([("yes", "no"), ("longer", "shorter", "as long")]))
    expected = data.draw(st.sampled_from(choices))
    said = {choice for choice in choices if choice in words}
    assert says(" ".join(words), expected, "yes or no, longer, shorter or as long?", choices) is (said == {expected})


@given(st.integers(0, 20))
def test_a_plain_word_among_many_others_is_not_an_answer(others: int) -> None:
    assert says(" ".join(["kakil", *["route"] * others]), "kakil", "Which collector?") is (others <= 12)


@pytest.mark.parametrize(
    ("text", "expected", "right"),
    [
        ("AS64500.", "AS64500", True),
        ("AS645001", "AS64500", False),
        ("64500", "AS64500", False),
        ("It was AS64500, not AS64501", "AS64500", False),
        ("yes/no", "yes", False),
        ("08:15", "08:15:00", False),
        ("12.50 ms", "12.5 ms", False),
        ("10.0.0.0/24", "10.0.0.0/8", False),
        ("-91 dBm", "91 dBm", False),
        ("-91 dBm", "-91 dBm", True),
        ("", "AS64500", False),
    ],
)
def test_values_are_compared_as_they_are_written(text: str, expected: str, right: bool) -> None:
    assert says(text, expected, "Which?") is right


@given(st.text(alphabet="aB 1.:", min_size=1).filter(lambda text: text.strip(" .")), st.data())
def test_case_spaces_and_the_last_full_stop_do_not_count(text: str, data: st.DataObject) -> None:
    same = data.draw(
        st.sampled_from([text.upper(), text.lower(), f" {text}\n", f"{text}.", f"{text} .", text.replace(" ", "\t")])
    )
    assert is_exact(same, text)
    assert says(same, text, "")
    assert not is_exact(f"{text} x", text)
    assert not is_exact(f"x {text}", text)


pieces = st.text(alphabet="aAS1 .(]", max_size=8)
numbers = st.lists(st.integers(0, 999), min_size=1, max_size=3)


@given(st.lists(st.tuples(pieces, numbers), max_size=5), pieces, st.sampled_from([",", ", ", " , "]))
def test_citations_are_read_in_their_order_and_are_no_part_of_the_text(
    parts: list[tuple[str, list[int]]], end: str, comma: str
) -> None:
    answer = "".join(f"{piece}[{comma.join(map(str, cited))}]" for piece, cited in parts) + end
    read = split_answer(answer)
    assert read.cited == tuple(number for _, cited in parts for number in cited)
    assert read.text.split() == " ".join([*(piece for piece, _ in parts), end]).split()


@pytest.mark.parametrize("text", ["[x]", "[1234]", "[]", "[1, x]", "1]", "[ 2 ]"])
def test_what_is_no_number_in_brackets_is_no_citation(text: str) -> None:
    assert split_answer(text).cited == ()
    assert split_answer(text).text == text


@pytest.mark.parametrize("written", ["{}", " {} ", "{} [2]", "{} [1][2].", "[3] {}", "{}\n"])
def test_a_refusal_is_one_with_or_without_citations(written: str) -> None:
    assert split_answer(written.format(REFUSAL)).refuses
    assert split_answer(written.format(REFUSAL.upper())).refuses
    assert not split_answer(written.format(f"{REFUSAL} AS64500")).refuses
    assert not split_answer(written.format("The documents say AS64500.")).refuses


@given(st.text(alphabet="aAS1.: ", min_size=1).filter(lambda text: text.strip(" .")), st.integers(1, 99))
def test_what_the_training_writes_is_exact_and_cites_one_document(answer: str, number: int) -> None:
    for written in (cite_document(answer, number), f"{cite_document(answer, number)}."):
        read = split_answer(written)
        assert read.cited == (number,)
        assert is_exact(read.text, answer)
    assert normalise(answer) == normalise(f"{answer} .")


@given(sentence, st.lists(sentence, max_size=3), st.data())
def test_inventions_are_the_words_with_digits_that_stand_nowhere(
    words: list[Word], sources: list[list[Word]], data: st.DataObject
) -> None:
    known = {text for source in sources for _, text in source}
    expected = [text.lower() for kind, text in words if kind != "plain" and text not in known]
    shown = [data.draw(text_of(source)) for source in sources]
    assert find_inventions(data.draw(text_of(words)), shown) == expected


def test_a_quotation_is_there_word_for_word_or_not() -> None:
    text = 'It says "the hold time  IS 90 s" and “no such words here”, of "hold time".'
    first, second = find_quotes(text)
    shown = ["Of timers.\nThe hold time is\n90 s by default."]
    assert is_quoted_from(first, shown)
    assert not is_quoted_from(second, shown)
    assert not is_quoted_from(first, [])
