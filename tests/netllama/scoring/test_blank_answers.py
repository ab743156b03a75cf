"""Blanks: the right answer is right however it is dressed, and nothing else is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.records import Question
from netllama.scoring.blank_answers import find_unit, judge_blank, match_texts, normalise_answer
from tests.support.shipped_data import load_shipped_questions

BLANKS = [question for question in load_shipped_questions() if question.kind == "blank"]


def blank(text: str, answer: str, *aliases: str) -> Question:
    fields: dict[str, Any] = {"options": [], "key_facts": [], "reference": "", "cluster": ""}
    return Question(id="q", family="f", kind="blank", question=text, answer=answer, aliases=list(aliases), **fields)


DELAY = blank("The packet delay budget of 5QI 9 is ____ milliseconds.", "300")
STATE = blank("A router that waits for a KEEPALIVE is in the state ____.", "OpenConfirm", "Open Confirm")
PORT = blank("BGP listens on TCP port ____.", "179")


@pytest.mark.parametrize(
    ("question", "written"),
    [
        (PORT, "179"),
        (PORT, " 179.\n"),
        (PORT, "**179**"),
        (PORT, "`179`"),
        (PORT, "The answer is 179."),
        (PORT, "Answer: 179"),
        (PORT, "BGP listens on TCP port 179."),
        (PORT, "bgp listens on tcp port 179"),
        (PORT, "１７９。"),
        (PORT, "\n\n179\nbecause RFC 4271 says so"),
        (PORT, "0xb3"),
        (STATE, "open-confirm"),
        (STATE, "the OpenConfirm"),
        (STATE, '"Open Confirm"'),
        (DELAY, "300 ms"),
        (DELAY, "300 milliseconds"),
        (DELAY, "0.3 s"),
        (DELAY, "0.3 seconds"),
        (DELAY, "300,000 µs"),
        (blank("The penalty has decayed to ____.", "3200"), "3,200"),
        (blank("The offset is ____.", "-5"), "-5"),
        (blank("The offset is ____.", "-5"), "\N{MINUS SIGN}5"),
        (blank("The share is ____.", "0.5"), ".5"),
        (blank("It weighs ____ KiB.", "1"), "1024 bytes"),
        (blank("It is ____ m away.", "300"), "0.3 km"),
        (blank("____ is the port of BGP.", "179"), "179 is the port of BGP."),
        (blank("BGP listens. ____ is its port.", "179"), "179 is its port"),
        (PORT, "Answer:\n179"),
        (blank("Two networks peer. The first one sends ____ routes.", "12"), "The first one sends 12 routes"),
    ],
)
def test_a_right_answer_in_any_dress(question: Question, written: str) -> None:
    assert judge_blank(question, written)


@pytest.mark.parametrize(
    ("question", "written"),
    [
        (PORT, ""),
        (PORT, "\n"),
        (PORT, "1790"),
        (PORT, "179 or 22"),
        (PORT, "not 179"),
        (PORT, "22\n179"),
        (PORT, "port"),
        (STATE, "OpenSent"),
        (STATE, "Established, not OpenConfirm"),
        (DELAY, "300 s"),
        (DELAY, "300 bytes"),
        (DELAY, "0.3 ms"),
        (DELAY, "300 packets per second"),
        (DELAY, "-300"),
        (blank("The share is ____.", "5"), ".5"),
        (blank("The share is ____.", "5"), "0,5"),
        (blank("There are ____.", "12"), "1,2"),
        (blank("It is ____ m away.", "5"), "5 km"),
        (blank("The share is ____ %.", "50"), "50 dB"),
        (blank("____ is the port of BGP.", "179"), "22 is the port of BGP."),
        (PORT, "Answer:"),
    ],
)
def test_any_other_answer(question: Question, written: str) -> None:
    assert not judge_blank(question, written)


@pytest.mark.parametrize("question", BLANKS, ids=lambda question: question.id)
def test_our_own_answers_and_aliases_are_right_alone_and_in_their_sentence(question: Question) -> None:
    for text in (question.answer, *question.aliases):
        assert judge_blank(question, text)
        assert judge_blank(question, f"The answer is {text}.") or not any(map(str.isalnum, text))
    assert not judge_blank(question, "something else entirely")


@given(st.text(max_size=20))
def test_normalising_twice_changes_nothing_and_an_answer_matches_itself(text: str) -> None:
    assert match_texts(text, text) == bool(normalise_answer(text))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**6), max_value=10**6))
def test_numbers_match_by_value(number: Any) -> None:
    assert match_texts(f"{number:,}", f"{number}")
    assert not match_texts(f"{number + 1}", f"{number}")


@pytest.mark.parametrize(
    ("question", "unit"),
    [
        ("It takes ____ milliseconds.", "millisecond"),
        ("It takes ____ s.", "s"),
        ("It has ____ octets, not more", "octet"),
        ("It has ____ symbols", ""),
        ("It is ____", ""),
        ("no blank", ""),
    ],
)
def test_the_unit_after_the_blank(question: str, unit: str) -> None:
    assert find_unit(question) == unit
