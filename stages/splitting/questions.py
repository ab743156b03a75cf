"""Whether a row gives an evaluation question away: by likeness, by its words in a row, or with its answer beside it."""

from collections.abc import Sequence
from typing import NamedTuple

from stages.core.records import LETTERS, Instruction, Question
from stages.novelty.index import NoveltyIndex
from stages.novelty.rouge import tokens
from stages.splitting.groups import ROUNDING, comparable
from stages.splitting.normalise import template, words

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
        self._index = NoveltyIndex()
        self._needed: list[float] = []
        self._runs: dict[int, dict[str, list[int]]] = {}
        self._short: dict[int, dict[str, list[int]]] = {}
        for number, question in enumerate(questions):
            for text in asked(question):
                self._index.add(question.id, template(text))
            said = tokens(words(whole(question)))
            length = run_length(said, ngram)
            found = runs(said, length) if length else []
            self._needed.append(SHARE * len(found))
            for run in found:
                self._runs.setdefault(length, {}).setdefault(run, []).append(number)
            if SHORT <= len(said) < WHOLE and question.kind not in ("open", "code"):
                self._short.setdefault(len(said), {}).setdefault(" ".join(said), []).append(number)

    def text(self, question_id: str) -> str:
        return next(question.question for question in self._questions if question.id == question_id)

    def given_away(self, row: Instruction) -> Given | None:
        """The nearest question, or else the first whose words are in the row; None where there is none."""
        near = [self._index.nearest(template(text), self._cutoff) for text in prompts(row)]
        question, score = max(near, key=lambda match: match[1])
        if question:
            return Given(question, "near", score)
        said = tokens(words(comparable(row)))
        hits: dict[int, int] = {}
        for length, known in self._runs.items():
            for run in set(runs(said, length)):
                for number in known.get(run, ()):
                    hits[number] = hits.get(number, 0) + 1
        taken = [number for number, count in hits.items() if count >= self._needed[number]]
        if taken:
            return Given(self._questions[min(taken)].id, "words", 1.0)
        text = f" {' '.join(said)} "
        answered = [
            number
            for length, known in self._short.items()
            for run in runs(said, length)
            for number in known.get(run, ())
            if f" {' '.join(tokens(words(_answer(self._questions[number]))))} ".replace("  ", " ") in text
        ]
        return Given(self._questions[min(answered)].id, "answer", 1.0) if answered else None


def _answer(question: Question) -> str:
    """The right answer as a text that has to be in the row beside the question; a filled blank holds it already."""
    if question.kind == "choice":
        return question.options[LETTERS.index(question.answer)]
    # A true statement says it; of a false one the row has to say that it is.
    return "false" if question.kind == "true_false" and question.answer == "false" else ""
