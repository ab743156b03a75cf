"""What of val, of test and of the questions is found in train, measured on the finished sides alone.

Three measures: the same text (`exact`), the nearest text at or above the threshold (`near`), and texts of which half of
the runs of `ngram` words occur in train (`ngram`). Half, since imports and boilerplate are in many scripts: the runs
of words that GPT-3 looked for (Brown et al., arXiv 2005.14165, appendix C: 13 words), and a share of them as in Llama 2
(Touvron et al., arXiv 2307.09288, appendix A.6), with the numbers in the words.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tqdm import tqdm

from netllama.contamination.evaluation_questions import SHARE, asked, prompts, run_length, runs, whole
from netllama.contamination.normalisation import exact, template, words
from netllama.core.records import Instruction, Question
from netllama.novelty.index import NoveltyIndex
from netllama.novelty.rouge import tokens
from netllama.novelty.vocabulary import of_either
from netllama.splitting.groups import BAR_FROM, ROUNDING, comparable

SNIPPET = 100


@dataclass(frozen=True)
class Leak:
    """A text of `side` (val, test or questions) that is found in train; or one of `seeds` in the questions."""

    side: str
    id: str
    measure: str
    score: float
    """near: ROUGE-L F1; ngram: the share of its runs of words that are in train; else 1."""
    of: str
    """The row of train, for ngram the one that holds most of the runs; or the question."""
    text: str
    of_text: str

    def as_row(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.side} {self.id}: {self.measure} {self.score:.2f} to {self.of}: {self.text!r} / {self.of_text!r}"


@dataclass(frozen=True)
class Subject:
    """What is looked for in train: a row as one text, a question with and without its options."""

    id: str
    texts: list[str]
    said: str
    """What runs of words are taken from."""


def whole_row(row: Instruction) -> list[str]:
    return [comparable(row)]


def subjects_of_rows(rows: Iterable[Instruction]) -> list[Subject]:
    return [Subject(row.id, whole_row(row), comparable(row)) for row in rows]


def subjects_of_questions(questions: Iterable[Question]) -> list[Subject]:
    return [Subject(question.id, asked(question), whole(question)) for question in questions]


def leaks(
    sides: Mapping[str, Sequence[Instruction]], questions: Sequence[Question], threshold: float, ngram: int
) -> tuple[dict[str, Any], list[Leak]]:
    """Numbers for val, test and questions, and every leak behind them in the order of side, id and measure."""
    train = sides["train"]
    subjects = {name: subjects_of_rows(rows) for name, rows in sides.items() if name != "train"}
    subjects["questions"] = subjects_of_questions(questions)
    grams = _in_train(subjects, train, ngram)
    rows = [subject for name, listed in subjects.items() if name != "questions" for subject in listed]
    of_rows = _Trained("rows", train, whole_row, rows)
    of_questions = _Trained("questions", train, prompts, subjects["questions"])
    report, found = {}, []
    for name, listed in subjects.items():
        trained = of_questions if name == "questions" else of_rows
        same = {subject.id: row for subject in listed if (row := trained.same(subject))}
        close, most = _near(name, listed, trained, threshold - ROUNDING)
        report[name] = {
            "exact": len(same),
            "near": len(close),
            "ngram": len(grams[name]),
            "max_similarity": round(most, 4),
            "leaked": (leaked := len(same.keys() | close.keys() | grams[name].keys())),
            "share": round(leaked / max(1, len(listed)), 4),
        }
        by_measure = {"exact": {key: (1.0, row) for key, row in same.items()}, "near": close, "ngram": grams[name]}
        for subject in listed:
            for measure, hits in by_measure.items():
                if subject.id in hits:
                    score, row = hits[subject.id]
                    texts = snippet(subject.texts[0]), snippet(comparable(row))
                    found.append(Leak(name, subject.id, measure, round(score, 4), row.id, *texts))
    return report, found


class _Trained:
    """The rows of train by the texts that the subjects are compared with."""

    def __init__(
        self,
        name: str,
        rows: Sequence[Instruction],
        texts: Callable[[Instruction], list[str]],
        subjects: Sequence[Subject],
    ) -> None:
        self._same: dict[str, Instruction] = {}
        self._vocabulary = of_either(template(text) for subject in subjects for text in subject.texts)
        self._index = NoveltyIndex()
        self._rows: list[Instruction] = []
        for row in tqdm(rows, desc=f"train for {name}", unit="row", disable=len(rows) < BAR_FROM):
            for text in texts(row):
                self._same.setdefault(exact(text), row)
                self._index.add(str(len(self._rows)), self._vocabulary.entry(template(text)))
                self._rows.append(row)

    def same(self, subject: Subject) -> Instruction | None:
        return next((row for text in subject.texts if (row := self._same.get(exact(text)))), None)

    def nearest(self, subject: Subject, floor: float) -> tuple[float, Instruction | None]:
        """The best score of the subject's texts; (0, None) where none reaches `floor`."""
        matches = [self._index.nearest(self._vocabulary.query(template(text)), floor) for text in subject.texts]
        place, score = max(matches, key=lambda match: match[1])
        return score, self._rows[int(place)] if place else None


def _near(
    name: str, subjects: Sequence[Subject], trained: _Trained, cutoff: float
) -> tuple[dict[str, tuple[float, Instruction]], float]:
    """The subjects with a text of train at or above `cutoff`, and the highest score of all."""
    close, most = {}, 0.0
    for subject in tqdm(subjects, desc=f"{name} in train", unit="row", disable=len(subjects) < BAR_FROM):
        # Below both the cutoff and the highest so far a score says nothing: the index need not look for it.
        score, row = trained.nearest(subject, min(cutoff, most))
        most = max(most, score)
        if row and score >= cutoff:
            close[subject.id] = (score, row)
    return close, most


def _in_train(
    subjects: Mapping[str, Sequence[Subject]], train: Sequence[Instruction], ngram: int
) -> dict[str, dict[str, tuple[float, Instruction]]]:
    """By side and id, the share of runs that occur in train, where it is SHARE or more, and the row with most of them.

    Only the runs that are looked for are held; train passes by once.
    """
    # As text: lists of words take four times the memory.
    said = {(name, s.id): " ".join(tokens(words(s.said))) for name, listed in subjects.items() for s in listed}
    lengths: dict[tuple[str, str], int] = {}
    holder: dict[int, dict[str, int]] = {}
    for key, text in said.items():
        listed = text.split()
        # A short question counts as a whole, a short row does not: `exact` and `near` tell more of it.
        length = run_length(listed, ngram) if key[0] == "questions" else ngram
        if length and len(listed) >= length:
            lengths[key] = length
            holder.setdefault(length, {}).update(dict.fromkeys(runs(listed, length), -1))
    for place, row in enumerate(train):
        listed = tokens(words(comparable(row)))
        for length, known in holder.items():
            for run in runs(listed, length):
                if known.get(run) == -1:
                    known[run] = place
    found: dict[str, dict[str, tuple[float, Instruction]]] = {name: {} for name in subjects}
    for (name, subject_id), length in lengths.items():
        searched = runs(said[name, subject_id].split(), length)
        held = [place for run in searched if (place := holder[length][run]) >= 0]
        if len(held) >= SHARE * len(searched):
            counts = Counter(held)
            most = min(counts, key=lambda place: (-counts[place], place))
            found[name][subject_id] = len(held) / len(searched), train[most]
    return found


def snippet(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SNIPPET else f"{line[: SNIPPET - 3]}..."


def too_leaky(report: Mapping[str, Mapping[str, float]], sizes: Mapping[str, int], limit: float) -> list[str]:
    """A phrase for each side of which a larger share than `limit` is found in train."""
    return [
        f"{numbers['leaked']} of {sizes[name]} {'questions' if name == 'questions' else f'rows of {name}'}"
        for name, numbers in report.items()
        if numbers["leaked"] > limit * sizes[name] + 1e-9
    ]
