"""Reads reports without a model: the reference that a model is compared with.

It knows all wordings, finds out what a question asks and about what, looks for the report of that subject among the
documents, reads its sentences, and computes the answer from them. Only the texts are used.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from testbed.reports.report_catalogue import KINDS
from testbed.reports.report_draft import compute_answer
from testbed.reports.report_kind import QuestionType, ReportKind
from testbed.reports.report_wording import Fields, compile_wording, read_wording, split_sentences


class ReportReading(NamedTuple):
    answer: str
    document: int
    """Index of the document that holds the answer."""


class ReadQuestion(NamedTuple):
    kind: ReportKind
    type: QuestionType
    fields: Fields
    """The subject, and what else the question names."""


def answer_question(question: str, documents: Sequence[str]) -> ReportReading | None:
    """The answer and the document that holds it; None if none does, or if the question is in no known wording."""
    asked = read_question(question)
    if asked is None:
        return None
    subject = [(name, asked.fields[name]) for name in asked.kind.subject]
    for number, text in enumerate(documents):
        stated = read_report(asked.kind, text)
        if stated.items() >= set(subject):
            answer = compute_answer(asked.type, stated, asked.fields)
            if answer is not None:
                return ReportReading(answer, number)
    return None


def read_report(kind: ReportKind, text: str) -> dict[str, str]:
    """The fields that a report's text states; empty for a report of another kind."""
    first, *others = split_sentences(text)
    fields = _read_any(kind.openings, first)
    if fields is None:
        return {}
    for sentence in others:
        fields |= _read_any([wording for group in kind.groups for wording in group], sentence) or {}
    return fields


def read_question(question: str) -> ReadQuestion | None:
    """What a question asks, and the fields it names; None for a wording that is not known."""
    for pattern, kind, asked in _list_patterns():
        if found := pattern.fullmatch(question):
            return ReadQuestion(kind, asked, found.groupdict())
    return None


def _read_any(wordings: Sequence[str], sentence: str) -> dict[str, str] | None:
    return next((found for wording in wordings if (found := read_wording(wording, sentence)) is not None), None)


@cache
def _list_patterns() -> list[tuple[re.Pattern[str], ReportKind, QuestionType]]:
    return [
        (compile_wording(wording.replace("{scope}", scope), r"\S+?"), kind, asked)
        for kind in KINDS
        for asked in kind.types
        for wording in asked.wordings
        for scope in kind.scopes
    ]
