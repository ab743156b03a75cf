"""How much of val, of test and of the questions is found in train, measured on the finished sides alone.

Three measures: the same text (`exact`), a text at or above the threshold (`near`), and a text of which half of the runs
of `ngram` words occur in train (`ngram`): the runs of words that GPT-3 looked for (Brown et al., arXiv 2005.14165,
appendix C: 13 words), and a share of them as in Llama 2 (Touvron et al., arXiv 2307.09288, appendix A.6), with the
numbers in the words. A row of val or test is compared with single rows of train and without the text that many rows
have in common (common_text.py), as it was grouped. A question is compared whole, and may be spread over several rows,
which the rule for single rows (evaluation_questions.py) can't see.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from netllama.contamination import common_text
from netllama.contamination.common_text import CommonText, hash_runs, is_in
from netllama.contamination.compared_texts import join_texts, list_forms, list_passages, list_prompts
from netllama.contamination.evaluation_questions import SHARE, choose_run_length, cut_runs
from netllama.contamination.normalisation import blot_numbers, list_words
from netllama.contamination.train_texts import IndexedTrain, PairedTrain, Subject, TextHit, TrainTexts, find_same_texts
from netllama.core.progress_bar import track_rows
from netllama.core.records import Instruction, Question
from netllama.core.sections import ContaminationParams
from netllama.novelty.near_pairs import is_small
from netllama.novelty.rouge import TOLERANCE

SNIPPET = 100
"""Characters of a text that are shown of it."""


@dataclass(frozen=True)
class LeakedText:
    """A text of `side` (val, test, questions) that is found in train, or one of `seeds` that gives a question away."""

    side: str
    id: str
    measure: str
    score: float
    """near: ROUGE-L F1; ngram, words: the share of its runs of words; else 1."""
    of: str
    """The row of train (ngram: the one that holds most of the runs), or the question."""
    text: str
    of_text: str

    def as_row(self) -> dict[str, str | float]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.side} {self.id}: {self.measure} {self.score:.2f} to {self.of}: {self.text!r} / {self.of_text!r}"


@dataclass(frozen=True)
class SideLeakage:
    """How many texts of a side are found in train: by each measure, and by any of them."""

    exact: int
    near: int
    ngram: int
    max_similarity: float
    """The highest ROUGE-L F1 of a text of the side to a text of train. Of a large pool it is, below the threshold, the
    highest that MinHash came upon."""
    leaked: int
    share: float
    """`leaked` of all texts of the side."""


def list_row_subjects(rows: Sequence[Instruction], common: CommonText) -> list[Subject]:
    own = zip(rows, common.list_own(rows), strict=True)
    return [Subject(row.id, [join_texts(row)], [text]) for row, text in own]


def list_question_subjects(questions: Iterable[Question]) -> list[Subject]:
    return [Subject(each.id, forms := list_forms(each), [*map(blot_numbers, forms)]) for each in questions]


def measure_leakage(
    sides: Mapping[str, Sequence[Instruction]],
    questions: Sequence[Question],
    common: CommonText,
    near_duplicate_threshold: float,
    contamination: ContaminationParams,
    scratch: Path,
) -> tuple[dict[str, SideLeakage], list[LeakedText]]:
    """Numbers for val, test and questions, and the texts behind them in the order of side, id and measure.

    Rows are near from `near_duplicate_threshold` on, questions from `contamination.similarity_threshold` on. `common`
    is what the rows of all sides have in common; `scratch` is a folder for what processes share.
    """
    train = sides["train"]
    held_out = {name: rows for name, rows in sides.items() if name != "train"}
    subjects = {name: list_row_subjects(rows, common) for name, rows in held_out.items()}
    rows = [subject for listed in subjects.values() for subject in listed]
    subjects["questions"] = list_question_subjects(questions)
    # Before there is an index: both take memory.
    repeated = _find_passages(held_out, train, common)
    repeated["questions"] = _find_runs(questions, train, contamination.ngram)
    same = find_same_texts(rows, train, lambda row: [join_texts(row)])
    same_questions = find_same_texts(subjects["questions"], train, list_prompts)
    row_texts = _choose_train_texts(rows, train, common, near_duplicate_threshold, scratch)
    question_texts = IndexedTrain("questions", train, _list_templates, subjects["questions"])
    report: dict[str, SideLeakage] = {}
    leaked: list[LeakedText] = []
    for name, listed in subjects.items():
        of_questions = name == "questions"
        texts = question_texts if of_questions else row_texts
        threshold = contamination.similarity_threshold if of_questions else near_duplicate_threshold
        exact = same_questions if of_questions else {each.id: same[each.id] for each in listed if each.id in same}
        near, highest = _find_near(name, listed, texts, threshold - TOLERANCE)
        measures = {"exact": exact, "near": near, "ngram": repeated[name]}
        number = len(exact.keys() | near.keys() | repeated[name].keys())
        report[name] = SideLeakage(
            **{measure: len(hits) for measure, hits in measures.items()},
            max_similarity=round(highest, 4),
            leaked=number,
            share=round(number / max(1, len(listed)), 4),
        )
        for subject in listed:
            for measure, hits in measures.items():
                if hit := hits.get(subject.id):
                    shown = shorten_text(subject.texts[0]), shorten_text(join_texts(hit.row))
                    leaked.append(LeakedText(name, subject.id, measure, round(hit.score, 4), hit.row.id, *shown))
    return report, leaked


def _choose_train_texts(
    rows: Sequence[Subject], train: Sequence[Instruction], common: CommonText, threshold: float, scratch: Path
) -> TrainTexts:
    """By the number of all rows alone, as split chooses."""

    if is_small(len(rows) + len(train), threshold):
        return IndexedTrain("rows", train, lambda row: [common.state_own(row)], rows)
    return PairedTrain(train, common.list_own(train), rows, threshold, scratch)


def _list_templates(row: Instruction) -> list[str]:
    return [blot_numbers(text) for text in list_prompts(row)]


def _find_near(
    name: str, subjects: Sequence[Subject], texts: TrainTexts, cutoff: float
) -> tuple[dict[str, TextHit], float]:
    """By id, the subjects with a text of train at or above `cutoff`; and the highest score of all."""
    near: dict[str, TextHit] = {}
    highest = 0.0
    for subject in track_rows(subjects, f"{name} in train"):
        # Below both the cutoff and the highest so far a score says nothing: the index need not look for it.
        if hit := texts.find_nearest(subject, min(cutoff, highest)):
            highest = max(highest, hit.score)
            if hit.score >= cutoff:
                near[subject.id] = hit
    return near, highest


def _find_passages(
    held_out: Mapping[str, Sequence[Instruction]], train: Sequence[Instruction], common: CommonText
) -> dict[str, dict[str, TextHit]]:
    """By side and id, the row of train that holds most of a row's own runs, where it holds SHARE of them or more."""
    sought = {
        side: [(row.id, runs) for row, runs in zip(rows, common.list_runs(rows), strict=True)]
        for side, rows in held_out.items()
    }
    holders: dict[int, list[int]] = {run: [] for listed in sought.values() for _, runs in listed for run in runs.shared}
    runs_sought = np.array(sorted(holders), np.uint64)
    for place in common.list_holders(train, runs_sought):
        for run in common.find_runs(train[place]).shared:
            if run in holders:
                holders[run].append(place)
    found: dict[str, dict[str, TextHit]] = {side: {} for side in sought}
    for side, listed in sought.items():
        for row_id, runs in listed:
            counts = Counter(place for run in runs.shared for place in holders[run])
            most = min(counts, key=lambda place: (-counts[place], place), default=-1)
            if counts[most] >= common_text.SHARE * runs.number and counts[most]:
                found[side][row_id] = TextHit(counts[most] / runs.number, train[most])
    return found


def _find_runs(questions: Sequence[Question], train: Sequence[Instruction], ngram: int) -> dict[str, TextHit]:
    """By id, the largest share of a passage's runs that occur in train, where it is SHARE or more, and the row that
    holds most of them.

    Only the runs that are looked for are held in memory; train passes by once.
    """
    passages = [
        (question.id, cut_runs(words, length), length)
        for question in questions
        for passage in list_passages(question)
        if (length := choose_run_length(words := list_words(passage), ngram))
    ]
    holders: dict[int, dict[str, int]] = {}
    for _, runs, length in passages:
        holders.setdefault(length, {}).update(dict.fromkeys(runs, -1))
    # Every run begins with so many words: nearly all rows hold no such beginning, which their hashes show at once.
    start = min(holders, default=1)
    begun = (hash_runs(run.split()[:start], start) for _, runs, _ in passages for run in runs)
    starts = np.unique(np.concatenate([np.empty(0, np.uint64), *begun]))
    for place, row in enumerate(train):
        listed_words = list_words(join_texts(row))
        if not is_in(hash_runs(listed_words, start), starts).any():
            continue
        for length, known in holders.items():
            for run in cut_runs(listed_words, length):
                if known.get(run) == -1:
                    known[run] = place
    found: dict[str, TextHit] = {}
    for question_id, runs, length in passages:
        held = [place for run in runs if (place := holders[length][run]) >= 0]
        share = len(held) / len(runs)
        if share >= SHARE and (question_id not in found or share > found[question_id].score):
            counts = Counter(held)
            found[question_id] = TextHit(share, train[min(counts, key=lambda place: (-counts[place], place))])
    return found


def shorten_text(text: str) -> str:
    """The text on one line, of at most SNIPPET characters."""
    line = " ".join(text.split())
    return line if len(line) <= SNIPPET else f"{line[: SNIPPET - 3]}..."


def list_leaky_sides(report: Mapping[str, SideLeakage], sizes: Mapping[str, int], limit: float) -> list[str]:
    """A phrase for each side of which a larger share than `limit` is found in train."""
    return [
        f"{found.leaked} of {sizes[side]} {'questions' if side == 'questions' else f'rows of {side}'}"
        for side, found in report.items()
        if found.leaked > limit * sizes[side] + 1e-9
    ]
