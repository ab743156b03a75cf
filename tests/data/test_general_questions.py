"""The general questions: of many subjects, none on networks; answers that can be computed are computed here."""

import re
from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import pytest

from netllama.core.records import LETTERS, Question
from tests.support.shipped_data import load_shipped_questions

QUESTIONS = [each for each in load_shipped_questions() if each.family == "general"]
COMPUTED = ("arithmetic", "python")


def raised_by(code: str) -> str:
    with pytest.raises(Exception) as raised:  # noqa: PT011
        eval(code)
    return raised.type.__name__


def append_to_alias() -> list[int]:
    a = [1, 2]
    b = a
    b.append(3)
    return a


def is_assignable(text: str) -> bool:
    try:
        text[0] = "x"  # type: ignore[index]
    except TypeError:
        return False
    return True


ANSWERS: dict[str, Callable[[], object]] = {
    "What is 17 times 6?": lambda: sum([17] * 6),
    "A shirt at 40 euros": lambda: 40 - 40 * Fraction(15, 100),
    "A train covers 180 km": lambda: 180 / (2 + Fraction(15, 60)),
    "Which number continues the row": lambda: 24 * (12 // 6),
    "How many seconds are": lambda: Fraction(5, 2) * 60 * 60,
    "Which of these fractions": lambda: max(map(Fraction, ("5/8", "3/5", "7/12", "1/2"))),
    "A rectangle is 9 cm long": lambda: 2 * (9 + 54 // 9),
    "The mean of four numbers": lambda: 4 * 12 - (8 + 10 + 17),
    "What remains if 100": lambda: 100 % 7,
    "Two fair coins": lambda: Fraction(sum("H" in one + other for one in "HT" for other in "HT"), 4),
    "A recipe for 4 people": lambda: f"{300 * 10 // 4} g",
    "How many whole numbers from 1": lambda: sum(n % 3 == 0 or n % 5 == 0 for n in range(1, 101)),
    "The number 91": lambda: any(91 % n == 0 for n in range(2, 91)),
    "A square with sides of 4 cm": lambda: 4 * 4 == 8,
    "Half of a third": lambda: Fraction(1, 2) * Fraction(1, 3) == Fraction(1, 6),
    "A price that rises": lambda: Fraction(11, 10) * Fraction(9, 10) == 1,
    "The sum of two odd numbers": lambda: all((a + b) % 2 == 0 for a in range(1, 20, 2) for b in range(1, 20, 2)),
    "The number 0.5 is smaller": lambda: Fraction("0.5") < Fraction("0.45"),
    "What does len(": lambda: len([1, [2, 3], 4]),
    "What is the value of 7 // 2": lambda: 7 // 2,
    "Which character is 'abc'[-1]": lambda: "abc"[-1],
    "Which of these built-in types": lambda: next(
        kind.__name__ for kind in (tuple, list, dict, set) if kind.__hash__ is not None
    ),
    "Which list is list(range(2, 8, 3))": lambda: list(range(2, 8, 3)),
    "Which exception does": lambda: raised_by("{}['a']"),
    "A Python program runs a = [1, 2]": append_to_alias,
    "What does the call bool('False')": lambda: bool("False"),
    "To what does sum(": lambda: sum(x for x in range(5) if x % 2),
    "The first element of a Python list": lambda: ["x", "y"].index("x") == 0,
    "In Python, 3 / 2": lambda: isinstance(3 / 2, int),
    "A Python dictionary never holds": lambda: len(dict(zip("kk", (1, 2), strict=True))) == 1,
    "A single character of a Python string": lambda: is_assignable("abc"),
    "In Python, two empty lists": lambda: [].__eq__([]),
}
"""By the beginning of a question, what is right."""


def find_right(question: Question) -> str:
    return question.options[LETTERS.index(question.answer)] if question.options else question.answer


@pytest.mark.parametrize("begin", ANSWERS)
def test_the_answer_is_what_python_computes(begin: str) -> None:
    found = [question for question in QUESTIONS if question.question.startswith(begin)]
    assert len(found) == 1
    computed = ANSWERS[begin]()
    wanted = str(computed).lower() if found[0].kind == "true_false" else str(computed)
    assert find_right(found[0]) == wanted


def test_every_question_on_arithmetic_and_python_is_computed() -> None:
    assert sum(question.category in COMPUTED for question in QUESTIONS) == len(ANSWERS)


def test_there_are_six_subjects_with_questions_enough_of_both_kinds() -> None:
    assert len(QUESTIONS) >= 72
    counts = Counter((question.category, question.kind) for question in QUESTIONS)
    subjects = {"arithmetic", "science", "reading", "python", "geography", "language"}
    assert set(counts) == {(subject, kind) for subject in subjects for kind in ("choice", "true_false")}
    assert min(counts[subject, "choice"] + counts[subject, "true_false"] for subject in subjects) >= 10


def test_none_is_about_networks() -> None:
    terms = r"\b(?:BGP|AS|ASN|IPv?[46]?|TCP|UDP|DNS|router|routing|prefix|packet|peer|network|internet|5G|radio)s?\b"
    texts = [" ".join((question.question, *question.options)) for question in QUESTIONS]
    assert [text for text in texts if re.search(terms, text)] == []
