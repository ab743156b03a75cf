"""Whether a row gives an evaluation question away: by likeness, by its words in a row, or with its answer beside it."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from netllama.contamination.normalisation import template, words
from netllama.core.records import LETTERS, Instruction, Question
from netllama.novelty.index import NoveltyIndex
from netllama.novelty.rouge import tokens
from netllama.novelty.vocabulary import of_either
from netllama.splitting.groups import ROUNDING, comparable

WHOLE = 8
"""A question of this many words is given away by its words alone, wherever they stand (data/README.md: RUN)."""
SHORT = 5
"""One of this many only where the right answer is in the row as well; a shorter one is a common phrase."""
SHARE = 0.5
"""Of the runs of words, how many are too many: code and lists that tasks have in common stay below."""


class Given(NamedTuple):
    """Which question a row gives away, and how: `near` (with its ROUGE-L F1), `words` or `answer`."""

    question: str
    measure: str
    score: float

    def __str__(self) -> str:
        how = {"near": f"near to it ({self.score:.2f})", "words": "its words in a row", "answer": "it and its answer"}
        return f"evaluation question {self.question}: {how[self.measure]}"


def asked(question: Question) -> list[str]:
    """The texts that a row is held against: the question, and with its options."""
    with_options = " ".join((question.question, *question.options))
    return [question.question, with_options] if question.options else [question.question]


def prompts(row: Instruction) -> list[str]:
    """What the model is asked: instruction, and instruction with input."""
    return [row.instruction, f"{row.instruction} {row.input}"] if row.input else [row.instruction]


def whole(question: Question) -> str:
    """The question, with its blank filled in."""
    return question.question.replace("____", question.answer) if question.kind == "blank" else question.question


def runs(text: Sequence[str], length: int) -> list[str]:
    """All runs of `length` words, in their order, as text."""
    return [" ".join(text[start : start + length]) for start in range(len(text) - length + 1)]


def run_length(text: Sequence[str], ngram: int) -> int:
    """The words of a run: `ngram`, or the whole text where it is shorter; 0 for a text below WHOLE."""
    return min(len(text), ngram) if len(text) >= WHOLE else 0


class Evaluation:
    """The questions, ready to be looked for in rows."""

    def __init__(self, questions: Sequence[Question], threshold: float, ngram: int) -> None:
        self._cutoff = threshold - ROUNDING
        self._questions = questions
        self._vocabulary = of_either(template(text) for question in questions for text in asked(question))
        self._index = NoveltyIndex()
        self._needed: list[float] = []
        self._runs: dict[str, list[int]] = {}
        self._short: dict[str, list[int]] = {}
        # Every run begins with so many words: one look at each place of a row instead of one for each length.
        self._start = min(SHORT, ngram)
        self._lengths: dict[str, set[int]] = {}
        for number, question in enumerate(questions):
            for text in asked(question):
                self._index.add(question.id, template(text))
            said = tokens(words(whole(question)))
            length = run_length(said, ngram)
            searched = runs(said, length) if length else []
            self._needed.append(SHARE * len(searched))
            for run in searched:
                self._add(self._runs, run, number)
            if SHORT <= len(said) < WHOLE and question.kind not in ("open", "code"):
                self._add(self._short, " ".join(said), number)

    def _add(self, runs_of: dict[str, list[int]], run: str, number: int) -> None:
        runs_of.setdefault(run, []).append(number)
        listed = run.split()
        self._lengths.setdefault(" ".join(listed[: self._start]), set()).add(len(listed))

    def text(self, question_id: str) -> str:
        return next(question.question for question in self._questions if question.id == question_id)

    def given_away(self, row: Instruction) -> Given | None:
        """The nearest question, or else the first whose words are in the row; None where there is none."""
        near = [self._index.nearest(self._vocabulary.query(template(text)), self._cutoff) for text in prompts(row)]
        question, score = max(near, key=lambda match: match[1])
        if question:
            return Given(question, "near", score)
        said = tokens(words(comparable(row)))
        found = {
            " ".join(said[place : place + length])
            for place, start in enumerate(runs(said, self._start))
            for length in self._lengths.get(start, ())
        }
        hits = Counter(number for run in found for number in self._runs.get(run, ()))
        if taken := [number for number, count in hits.items() if count >= self._needed[number]]:
            return Given(self._questions[min(taken)].id, "words", 1.0)
        short = {number for run in found for number in self._short.get(run, ())}
        text = f" {' '.join(said)} "
        if answered := [number for number in short if _answer(self._questions[number]) in text]:
            return Given(self._questions[min(answered)].id, "answer", 1.0)
        return None


def _answer(question: Question) -> str:
    """The right answer, as words between spaces, that has to be in the row beside the question."""
    # A filled blank holds it already, and a true statement is it; of a false one the row has to say that it is.
    answer = "false" if question.kind == "true_false" and question.answer == "false" else ""
    if question.kind == "choice":
        answer = question.options[LETTERS.index(question.answer)]
    return f" {listed} " if (listed := " ".join(tokens(words(answer)))) else ""
