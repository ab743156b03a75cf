"""Guesses that read nothing: what somebody scores on report questions who only knows what an answer looks like."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from random import Random

from testbed.reports.report_records import Report, ReportQuestion, ReportSet

FORMS = {
    "AS number": r"AS\d+",
    "prefix": r"[\da-f.:]+/\d+",
    "time": r"\d\d:\d\d:\d\d",
    "cell": r"[A-Z]{3}-\d",
    "quantity": r"-?\d+(?:\.\d+)? (?:%|[A-Za-z][A-Za-z/]*)",
    "count": r"\d+",
}
Guess = Callable[[str, list[str]], str | None]
"""The form of the answer and the documents -> a guess."""
SHOWN = 4


def find_form(answer: str) -> str | None:
    return next((form for form, pattern in FORMS.items() if re.fullmatch(pattern, answer)), None)


def list_like(form: str, text: str) -> list[str]:
    """All strings of the text that have the form of the answer, as whole words."""
    return re.findall(rf"(?<![\w.:/-]){FORMS[form]}(?![\w:/-]|\.\d)", text)


def guess_first(form: str, documents: list[str]) -> str | None:
    """The first string of the form in the first document that has one."""
    return next((found[0] for text in documents if (found := list_like(form, text))), None)


def guess_most_frequent(form: str, documents: list[str]) -> str | None:
    found = [each for text in documents for each in list_like(form, text)]
    return Counter(found).most_common(1)[0][0] if found else None


def guess_longest(form: str, documents: list[str]) -> str | None:
    return max((each for text in documents for each in list_like(form, text)), key=len, default=None)


def guess_last(form: str, documents: list[str]) -> str | None:
    found = [each for text in documents for each in list_like(form, text)]
    return found[-1] if found else None


GUESSES: dict[str, Guess] = {
    "first of the form": guess_first,
    "last of the form": guess_last,
    "most frequent of the form": guess_most_frequent,
    "longest of the form": guess_longest,
}


def show_documents(question: ReportQuestion, reports: dict[str, Report]) -> list[str]:
    """The golden report among look-alikes of its kind, four documents in an order drawn from the question's id."""
    names = [*question.golden, *question.distractors][:SHOWN]
    Random(question.id).shuffle(names)
    return [reports[name].text for name in names]


def score_guesses(report_set: ReportSet) -> dict[str, float]:
    """Share of right answers of each guess, among the questions that have an answer with a form of its own."""
    reports = {report.id: report for report in report_set.reports}
    asked = [(each, form) for each in report_set.questions if (form := find_form(each.answer))]
    right = Counter[str]()
    for question, form in asked:
        documents = show_documents(question, reports)
        right.update(name for name, guess in GUESSES.items() if guess(form, documents) == question.answer)
        golden = [reports[name].text for name in question.golden]
        right["first of the form in the golden report"] += guess_first(form, golden) == question.answer
    return {name: right[name] / len(asked) for name in (*GUESSES, "first of the form in the golden report")}


def score_majority(train: Sequence[ReportQuestion], test: Sequence[ReportQuestion]) -> float:
    """Share of right answers if each type is answered with its most frequent answer in training."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for each in train:
        if each.answer:
            counts[each.kind, each.type][each.answer] += 1
    asked = [each for each in test if each.answer and not each.choices and counts[each.kind, each.type]]
    right = sum(counts[each.kind, each.type].most_common(1)[0][0] == each.answer for each in asked)
    return right / len(asked)
