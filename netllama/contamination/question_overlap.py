"""Which evaluation questions share text with single rows of the training data: what evaluate lists and scores without.

`8-gram`    a row holds a run of 8 words of the question, of the question with its right answer, or of another of its
            passages (compared_texts.py); code questions are looked for without the script that answers them
`13-gram`   the same with `contamination.ngram` words. GPT-3 called a text dirty for one such run (Brown et al., arXiv
            2005.14165, appendix C)
`ROUGE-L`   a prompt of the row has a ROUGE-L F1 of at least `contamination.similarity_threshold` to the question, with
            or without its options (numbers and addresses blotted out); or the row as a whole has it to the question
            with its right answer

The split drops rows that give a question away, by a looser rule (evaluation_questions.py). This is stricter, since it
takes nothing from anyone: a question that shares a phrase by chance is missing in one of two scores. Rows pass by once,
and only what is looked for is held in memory.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
from rapidfuzz.distance import Indel, LCSseq
from rapidfuzz.process import cdist

from netllama.contamination.common_text import hash_runs, is_in
from netllama.contamination.compared_texts import (
    TaskTexts,
    join_texts,
    list_forms,
    list_passages,
    list_prompts,
    state_answer,
)
from netllama.contamination.evaluation_questions import WHOLE, cut_runs
from netllama.contamination.normalisation import blot_numbers, list_words
from netllama.core.records import Instruction, Question
from netllama.core.sections import ContaminationParams
from netllama.novelty.rouge import TOLERANCE, Alphabet, split_rouge_tokens

ROUGE = "ROUGE-L"
BATCH = 512
"""Rows that are held, and compared with the questions, at a time."""


@dataclass(frozen=True)
class Overlap:
    """A question that one measure finds in the training data: where it is most of it, and how often it is there."""

    question: str
    """Its id."""
    measure: str
    score: float
    """n-gram: the largest share of a passage's runs that the row holds; ROUGE-L: F1."""
    row: str
    """Id of the row with the highest score, the first of equals."""
    rows: int
    """Rows that the measure finds the question in."""
    shared: str
    """n-gram: the longest run of words that passage and row have in common; ROUGE-L: their common subsequence."""

    def as_row(self) -> dict[str, str | float]:
        return asdict(self)


class _Match(NamedTuple):
    """What a measure finds of the question at `place` in one row."""

    place: int
    score: float
    mine: list[str]
    """Words of the passage, or tokens of the form."""
    theirs: list[str]
    """Those of the row, or of its prompt."""


@dataclass
class _Best:
    match: _Match
    row: str
    rows: int = 0


def find_overlaps(
    questions: Sequence[Question], rows: Iterable[Instruction], params: ContaminationParams
) -> list[Overlap]:
    """In the order of the questions, then of the measures."""
    lengths = sorted({WHOLE, params.ngram})
    runs, forms = _Runs(questions, lengths), _Forms(questions, params.similarity_threshold)
    best: list[dict[int, _Best]] = [{} for _ in (*lengths, ROUGE)]
    rest = iter(rows)
    while batch := list(islice(rest, BATCH)):
        words = [list_words(join_texts(row)) for row in batch]
        for row, said, near in zip(batch, words, forms.find(batch, words), strict=True):
            for found, matches in zip(best, (*runs.find(said), near), strict=True):
                for match in matches:
                    _keep_best(found, match, row.id)
    overlaps = []
    for place, question in enumerate(questions):
        for name, found in zip(list_measures(params), best, strict=True):
            if own := found.get(place):
                shared = find_subsequence(own.match) if name == ROUGE else find_longest_run(own.match)
                score = round(own.match.score, 4)
                overlaps.append(Overlap(question.id, name, score, own.row, own.rows, " ".join(shared)))
    return overlaps


def _keep_best(found: dict[int, _Best], match: _Match, row: str) -> None:
    own = found.setdefault(match.place, _Best(match, row))
    own.rows += 1
    if match.score > own.match.score:
        own.match, own.row = match, row


def list_measures(params: ContaminationParams) -> list[str]:
    return [*(f"{length}-gram" for length in sorted({WHOLE, params.ngram})), ROUGE]


def describe_overlaps(overlaps: Sequence[Overlap], questions: int, params: ContaminationParams) -> str:
    """How many of the `questions` were found, in one clause."""
    hits = len({overlap.question for overlap in overlaps})
    if not hits:
        return (
            f"contamination: none of {questions} questions shares {min(WHOLE, params.ngram)} words in a row with the "
            f"training data, or has a ROUGE-L F1 of {params.similarity_threshold} to a row of it"
        )
    counts = Counter(overlap.measure for overlap in overlaps)
    listed = ", ".join(f"{name} {counts[name]}" for name in list_measures(params))
    verb = "shares" if hits == 1 else "share"
    return f"contamination: {hits} of {questions} questions {verb} text with the training data ({listed})"


class _Runs:
    """The runs of words of all passages, by their lengths."""

    def __init__(self, questions: Sequence[Question], lengths: Sequence[int]) -> None:
        self._lengths = lengths
        self._passages: list[tuple[int, list[str]]] = []
        self._holders: list[dict[str, list[int]]] = [{} for _ in lengths]
        for place, question in enumerate(questions):
            for passage in dict.fromkeys([state_answer(question), *list_passages(question)]):
                words = list_words(passage)
                for holders, length in zip(self._holders, lengths, strict=True):
                    for run in set(cut_runs(words, length)):
                        holders.setdefault(run, []).append(len(self._passages))
                self._passages.append((place, words))
        # Nearly all rows hold none of them, which their hashes show ten times as fast.
        self._hashes = np.unique(
            np.concatenate([hash_runs(words, lengths[0]) for _, words in self._passages] or [np.empty(0, np.uint64)])
        )

    def find(self, words: list[str]) -> list[list[_Match]]:
        """By length, a match for each question with a run in a row of these words: that of the passage with the largest
        share."""
        if not is_in(hash_runs(words, self._lengths[0]), self._hashes).any():
            return [[] for _ in self._lengths]
        return [
            self._match(words, holders, length) for holders, length in zip(self._holders, self._lengths, strict=True)
        ]

    def _match(self, words: list[str], holders: dict[str, list[int]], length: int) -> list[_Match]:
        hits = Counter(holder for run in set(cut_runs(words, length)) for holder in holders.get(run, ()))
        best: dict[int, _Match] = {}
        for holder in sorted(hits):
            place, mine = self._passages[holder]
            share = hits[holder] / len(set(cut_runs(mine, length)))
            if place not in best or share > best[place].score:
                best[place] = _Match(place, share, mine, words)
        return list(best.values())


class _Forms:
    """The questions, with and without their options, and with their right answers."""

    def __init__(self, questions: Sequence[Question], threshold: float) -> None:
        numbered = list(enumerate(questions))
        asked = [(place, _list_tokens(form)) for place, question in numbered for form in list_forms(question)]
        answered = [(place, _cut_names(list_words(state_answer(question)))) for place, question in numbered]
        self._asked, self._answered = _NearTexts(asked, threshold), _NearTexts(answered, threshold)

    def find(self, rows: Sequence[TaskTexts], words: Sequence[list[str]]) -> list[list[_Match]]:
        """For each row, `words` in all, a match for each question near to a text of it: that of the nearest text."""
        prompts = [(number, _list_tokens(prompt)) for number, row in enumerate(rows) for prompt in list_prompts(row)]
        wholes = [(number, _cut_names(own)) for number, own in enumerate(words)]
        best: list[dict[int, _Match]] = [{} for _ in rows]
        for number, match in chain(self._asked.find(prompts), self._answered.find(wholes)):
            own = best[number].get(match.place)
            if own is None or match.score > own.score:
                best[number][match.place] = match
        return [list(own.values()) for own in best]


class _NearTexts:
    """Texts of questions that are each compared with each text of a row: 0.05 us a pair, so no index is any faster."""

    def __init__(self, texts: Sequence[tuple[int, list[str]]], threshold: float) -> None:
        """`texts`: the place of a question, and the tokens of a text of it."""
        self._cutoff = threshold - TOLERANCE
        self._alphabet = Alphabet()
        self._texts = [(place, tokens) for place, tokens in texts if tokens]
        self._encoded = [self._alphabet.encode(" ".join(tokens)) for _, tokens in self._texts]

    def find(self, others: Sequence[tuple[int, list[str]]]) -> Iterator[tuple[int, _Match]]:
        """The number of a row and a match, for each of its texts in `others` and each text that this is near to."""
        encoded = [self._alphabet.encode_known(tokens) for _, tokens in others]
        scores = cdist(
            encoded, self._encoded, scorer=Indel.normalized_similarity, score_cutoff=self._cutoff, dtype=np.float64
        )
        for one, other in np.argwhere(scores).tolist():
            (number, theirs), (place, mine) = others[one], self._texts[other]
            yield number, _Match(place, float(scores[one, other]), mine, theirs)


def _list_tokens(text: str) -> list[str]:
    return split_rouge_tokens(blot_numbers(text))


def _cut_names(words: Sequence[str]) -> list[str]:
    """The words with names such as `as_path` cut into tokens."""
    return " ".join(words).replace("_", " ").split()


def find_longest_run(match: _Match) -> list[str]:
    """The longest run of words that both have, the first of equals."""
    text, start, length = f" {' '.join(match.theirs)} ", 0, 0
    for place in range(len(match.mine)):
        while place + length < len(match.mine) and f" {' '.join(match.mine[place : place + length + 1])} " in text:
            start, length = place, length + 1
    return match.mine[start : start + length]


def find_subsequence(match: _Match) -> list[str]:
    """The longest common subsequence of both."""
    blocks = LCSseq.opcodes(match.mine, match.theirs)
    return [word for block in blocks if block.tag == "equal" for word in match.mine[block.src_start : block.src_end]]
