"""The project's own questions as searches of its own notes: what is found should be the note that answers."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from netllama.retrieval.hits import Hit
from netllama.retrieval.ranking_measures import RankingQuality, measure_rankings
from tests.data.corpus_answers import ANSWERS
from tests.support.shipped_data import CORPUS, list_shipped_notes, load_shipped_questions

PASSAGES_SEARCHED = 60
"""Enough for ten notes, whichever of their sections are found."""


@dataclass(frozen=True)
class Passage:
    """A note, or a section of it with the note's title above."""

    id: str
    note: str
    text: str


@dataclass(frozen=True)
class NoteSearch:
    """A question, and the note that answers it."""

    question: str
    note: str


def list_passages(unit: Literal["note", "section"]) -> list[Passage]:
    """In the order of their paths. Lists of references are no sections."""
    passages = []
    for path in list_shipped_notes():
        note = path.relative_to(CORPUS).with_suffix("").as_posix()
        text = path.read_text(encoding="utf-8")
        title, *_ = text.splitlines()
        sections = [text] if unit == "note" else re.split(r"^(?=## )", text, flags=re.MULTILINE)
        passages += [
            Passage(f"{note}#{number}", note, text if number == 0 else f"{title}\n{text}")
            for number, text in enumerate(sections)
            if not text.startswith("## References")
        ]
    return passages


def list_searches() -> list[NoteSearch]:
    questions = {question.id: question.question for question in load_shipped_questions()}
    return [
        NoteSearch(questions[f"q-{family}-{number}"], note)
        for family, notes in ANSWERS.items()
        for note, numbers in notes.items()
        for number in numbers.split()
    ]


def measure_search(
    passages: Iterable[Passage], searches: list[NoteSearch], search: Callable[[str, int], list[Hit]]
) -> RankingQuality:
    """How well `search` finds the note of each question; the questions of a note stand or fall together."""
    note_of = {passage.id: passage.note for passage in passages}
    found = [
        list(dict.fromkeys(note_of[hit.id] for hit in search(wanted.question, PASSAGES_SEARCHED)))
        for wanted in searches
    ]
    _, clusters = np.unique([wanted.note for wanted in searches], return_inverse=True)
    return measure_rankings(found, [{wanted.note} for wanted in searches], clusters)
