"""Which text of train a text of another side, or a question, is most like: by an index of train, or by MinHash.

A large train side is searched as split searches the pool (near_pairs.py), with another seed: what one of them misses,
the other one finds.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from netllama.contamination.normalisation import squeeze_text
from netllama.core.progress_bar import track_parts, track_results, track_rows
from netllama.core.records import Instruction
from netllama.novelty.distinct_texts import DistinctTexts
from netllama.novelty.minhash import UNITS
from netllama.novelty.near_pairs import Wanted, hash_texts, join_pairs
from netllama.novelty.novelty_index import NoveltyIndex
from netllama.novelty.unit_search import search_units
from netllama.novelty.vocabulary import collect_tokens

ListTexts = Callable[[Instruction], Sequence[str]]
_SEED = 1


@dataclass(frozen=True)
class Subject:
    """A row or a question that is looked for in train."""

    id: str
    texts: list[str]
    """What is compared as a whole: a row as one text, a question with and without its options."""
    compared: list[str]
    """The same as templates: numbers blotted out; of a row, without common text."""


class TextHit(NamedTuple):
    """A row of train, and how much of the subject is in it."""

    score: float
    row: Instruction


class TrainTexts(Protocol):
    """The rows of train by the texts that subjects are compared with."""

    def find_nearest(self, subject: Subject, floor: float) -> TextHit | None:
        """The best score of the subject's texts, and the first row that has it; None where none reaches `floor`."""


def find_same_texts(
    subjects: Sequence[Subject], train: Iterable[Instruction], list_texts: ListTexts
) -> dict[str, TextHit]:
    """By id, the subjects of which a text is one of a row of train, with the first such row."""
    # Only the texts that are looked for: those of all rows of train would take as much memory as the rows.
    first: dict[str, Instruction | None] = {squeeze_text(text): None for each in subjects for text in each.texts}
    for row in train:
        for text in map(squeeze_text, list_texts(row)):
            if text in first and first[text] is None:
                first[text] = row
    found: dict[str, TextHit] = {}
    for each in subjects:
        for held in filter(None, (first[squeeze_text(text)] for text in each.texts)):
            found.setdefault(each.id, TextHit(1.0, held))
    return found


class IndexedTrain:
    """Compares a subject with all rows."""

    def __init__(
        self, name: str, rows: Sequence[Instruction], list_compared: ListTexts, subjects: Sequence[Subject]
    ) -> None:
        self._vocabulary = collect_tokens(text for subject in subjects for text in subject.compared)
        self._index = NoveltyIndex()
        self._rows: list[Instruction] = []
        for row in track_rows(rows, f"train for {name}"):
            for text in list_compared(row):
                self._index.add(str(len(self._rows)), self._vocabulary.entry(text))
                self._rows.append(row)

    def find_nearest(self, subject: Subject, floor: float) -> TextHit | None:
        queries = (self._vocabulary.query(text) for text in subject.compared)
        place, score = max((self._index.find_nearest(query, floor) for query in queries), key=lambda match: match[1])
        return TextHit(score, self._rows[int(place)]) if place else None


class PairedTrain:
    """Knows the rows that MinHash found for the subjects: all but one of a thousand at the threshold, fewer below."""

    def __init__(
        self,
        rows: Sequence[Instruction],
        own: Iterable[str],
        subjects: Sequence[Subject],
        threshold: float,
        scratch: Path,
    ) -> None:
        """`own`: the text of each row that is compared; `scratch`: a folder for the files that processes share."""
        texts = DistinctTexts()
        of_train = texts.number_texts(track_results(own, "train", len(rows)))
        sought = list(dict.fromkeys(text for subject in subjects for text in subject.compared if text))
        hashed = [hash_texts(chain(of_train, map(str.split, sought)), _SEED)]
        numbers, firsts = np.unique(texts.of_rows, return_index=True)
        firsts = firsts[numbers >= 0]
        wanted = Wanted(threshold, _SEED, border=len(firsts), floor=0.0)
        # Handed over, not held: on disk the texts take no memory of this process.
        searched = search_units(hashed.pop(), wanted, range(UNITS), scratch)
        pairs = join_pairs(list(track_parts(searched, "near pairs in train", UNITS)))
        self._nearest: dict[str, TextHit] = {}
        for place in np.lexsort((-firsts[pairs.first], pairs.score)).tolist():  # the best one last
            text, row = sought[pairs.second[place] - len(firsts)], rows[firsts[pairs.first[place]]]
            self._nearest[text] = TextHit(float(pairs.score[place]), row)

    def find_nearest(self, subject: Subject, floor: float) -> TextHit | None:
        found = (hit for text in subject.compared if (hit := self._nearest.get(text)) and hit.score >= floor)
        return max(found, key=lambda hit: hit.score, default=None)
