"""The one rule for "too near to an evaluation question": generate rejects by it, split drops, validate complains.

A task gives a question away if one of these holds (texts: compared_texts.py, their forms: normalisation.py):

`near`    a prompt of the task has a ROUGE-L F1 of at least `contamination.similarity_threshold` to the question
`words`   the task repeats at least half of a passage's runs of `contamination.ngram` words; a passage that is shorter
          than a run has to be there as a whole, and one of fewer than 8 words does not count
`answer`  the task states a closed question of 5 to 7 words, and its right answer

Hand-written content is held to a stricter setting of the same rule: a single run of 8 words is too many.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from netllama.contamination.common_text import hash_runs, is_in
from netllama.contamination.compared_texts import (
    TaskTexts,
    fill_blank,
    join_texts,
    list_forms,
    list_passages,
    list_prompts,
)
from netllama.contamination.normalisation import blot_numbers, list_words
from netllama.core.records import LETTERS, Question
from netllama.core.sections import ContaminationParams
from netllama.novelty.novelty_index import NoveltyIndex
from netllama.novelty.rouge import TOLERANCE
from netllama.novelty.vocabulary import collect_tokens

WHOLE = 8
"""Words from which on a passage is recognised by its words alone, wherever they stand."""
SHORT = 5
"""Words from which on a question is recognised where its right answer stands beside it; fewer are a common phrase."""
SHARE = 0.5
"""The share of a passage's runs that is too many: the code and lists that tasks have in common stay below it."""


@dataclass(frozen=True)
class GivenAway:
    """The question that a task gives away, and how."""

    question: str
    """Its id."""
    measure: Literal["near", "words", "answer"]
    score: float
    """near: ROUGE-L F1; words: the share of the passage's runs; answer: 1."""
    repeated: str = ""
    """words: the first run in common."""

    def __str__(self) -> str:
        if self.measure == "near":
            return f"near evaluation question {self.question} (ROUGE-L {self.score:.2f})"
        if self.measure == "words":
            return f"repeats evaluation question {self.question}: {self.repeated!r}"
        return f"states evaluation question {self.question} with its answer"


class _Passage(NamedTuple):
    """A passage of the question at `place`, cut into `runs`, of which `needed` are too many."""

    place: int
    runs: list[str]
    needed: float


class Evaluation:
    """The evaluation questions, indexed once so that any number of tasks can be held against them."""

    def __init__(self, questions: Sequence[Question], params: ContaminationParams, *, strict: bool = False) -> None:
        """`strict`: for hand-written content, which may not share a single run of WHOLE words with a question."""
        ngram = min(params.ngram, WHOLE) if strict else params.ngram
        self._questions = questions
        self._cutoff = params.similarity_threshold - TOLERANCE
        self._vocabulary = collect_tokens(blot_numbers(form) for question in questions for form in list_forms(question))
        self._index = NoveltyIndex()
        self._passages: list[_Passage] = []
        self._holders: dict[str, list[int]] = {}
        self._stated: dict[str, list[int]] = {}
        # Every run begins with so many words: one look at each place of a task instead of one for each length.
        self._start = min(SHORT, ngram)
        self._lengths: dict[str, set[int]] = {}
        for place, question in enumerate(questions):
            for form in list_forms(question):
                self._index.add(question.id, blot_numbers(form))
            for passage in list_passages(question):
                listed = list_words(passage)
                if length := choose_run_length(listed, ngram):
                    self._add_passage(place, cut_runs(listed, length), strict)
            listed = list_words(fill_blank(question))
            if SHORT <= len(listed) < WHOLE and question.kind not in ("open", "code"):
                self._add_run(self._stated, " ".join(listed), place)
        # Nearly all tasks hold no such beginning, which its hashes show at once.
        begun = (hash_runs(start.split(), self._start) for start in self._lengths)
        self._starts = np.unique(np.concatenate([np.empty(0, np.uint64), *begun]))

    def _add_passage(self, place: int, runs: list[str], strict: bool) -> None:
        for run in runs:
            self._add_run(self._holders, run, len(self._passages))
        self._passages.append(_Passage(place, runs, 1 if strict else SHARE * len(runs)))

    def _add_run(self, holders: dict[str, list[int]], run: str, holder: int) -> None:
        holders.setdefault(run, []).append(holder)
        listed = run.split()
        self._lengths.setdefault(" ".join(listed[: self._start]), set()).add(len(listed))

    def find_question(self, question_id: str) -> Question:
        return next(question for question in self._questions if question.id == question_id)

    def find_given_away(self, task: TaskTexts) -> GivenAway | None:
        """The nearest question, or else the first one that the task repeats or states; None where there is none."""
        return next(self._search(task), None)

    def list_given_away(self, task: TaskTexts) -> list[GivenAway]:
        """The nearest question and all that the task repeats or states, each question once."""
        found: dict[str, GivenAway] = {}
        for given_away in self._search(task):
            found.setdefault(given_away.question, given_away)
        return list(found.values())

    def _search(self, task: TaskTexts) -> Iterator[GivenAway]:
        queries = (self._vocabulary.query(blot_numbers(prompt)) for prompt in list_prompts(task))
        nearest, score = max(
            (self._index.find_nearest(query, self._cutoff) for query in queries), key=lambda match: match[1]
        )
        if nearest:
            yield GivenAway(nearest, "near", score)
        listed = list_words(join_texts(task))
        if not is_in(hash_runs(listed, self._start), self._starts).any():
            return
        found = {
            " ".join(listed[place : place + length])
            for place, start in enumerate(cut_runs(listed, self._start))
            for length in self._lengths.get(start, ())
        }
        hits = Counter(holder for run in found for holder in self._holders.get(run, ()))
        for holder in sorted(hits):
            passage = self._passages[holder]
            if hits[holder] >= passage.needed:
                first = next(run for run in passage.runs if run in found)
                share = hits[holder] / len(passage.runs)
                yield GivenAway(self._questions[passage.place].id, "words", share, first)
        text = f" {' '.join(listed)} "
        for place in sorted(place for run in found for place in self._stated.get(run, ())):
            if _word_answer(self._questions[place]) in text:
                yield GivenAway(self._questions[place].id, "answer", 1.0)


def cut_runs(listed: Sequence[str], length: int) -> list[str]:
    """All runs of `length` words, in their order, as text."""
    return [" ".join(listed[start : start + length]) for start in range(len(listed) - length + 1)]


def choose_run_length(listed: Sequence[str], ngram: int) -> int:
    """The words of a run: `ngram`, or all of a passage that is shorter; 0 for one of fewer than WHOLE words."""
    return min(len(listed), ngram) if len(listed) >= WHOLE else 0


def _word_answer(question: Question) -> str:
    """The words of the right answer between spaces; empty where the question itself tells the answer.

    A filled blank holds its answer, and a true statement is it; of a false one the task has to say that it is false.
    """
    answer = "false" if question.kind == "true_false" and question.answer == "false" else ""
    if question.kind == "choice":
        answer = question.options[LETTERS.index(question.answer)]
    listed = list_words(answer)
    return f" {' '.join(listed)} " if listed else ""
