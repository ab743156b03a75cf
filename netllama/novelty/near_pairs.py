"""All pairs of many texts with a ROUGE-L F1 from a threshold on: candidates by MinHash, each checked exactly.

minhash.py finds the candidates and says which pairs it may miss. Every pair that is returned has the score that
NoveltyIndex gives it, to the last bit.
"""

import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cpdist

from netllama.novelty.minhash import (
    SLOTS,
    Hashes,
    Items,
    Places,
    choose_band_rows,
    compute_least_jaccard,
    iter_collisions,
    number_occurrences,
    sign,
)
from netllama.novelty.rouge import TOLERANCE, Encoded, compute_f1
from netllama.novelty.token_hashes import hash_token

EXACT_ROWS = 50_000
"""Rows up to which all pairs are found by NoveltyIndex, and none is missed."""
LEAST_BAND_ROWS = 4
"""With shorter bands (thresholds below 0.56) a large share of all pairs are candidates: MinHash is no faster."""
SKETCH = 512
"""Bits of each text that tell most candidates from near pairs without a look at the texts. Half of them are compared
first: they tell unrelated texts; all of them tell most that have a third of their items in common."""
DEVIATIONS = 5.0
"""A candidate is out where its sketches agree in fewer bits than those of a pair at the bound by so many standard
deviations: one of 3 million near pairs."""
ROUNDING = 1e-9
# Pairs that are scored or texts that are sketched, and tokens that are encoded, at a time.
_BLOCK, _TOKENS = 5_000, 500_000
_FIRST_SURROGATE, _SURROGATES = 0xD800, 0x800
# A token that occurs once in all texts is one symbol in the first text of a pair and another in the second.
_ONCE, _ONCE_IN_SECOND, _SHARED = 1, 2, 3

Flags = NDArray[np.bool_]


def is_small(rows: int, threshold: float) -> bool:
    """Whether so many rows are compared by NoveltyIndex."""
    return rows <= EXACT_ROWS or choose_band_rows(threshold) < LEAST_BAND_ROWS


class NearPairs(NamedTuple):
    """Pairs of places of texts, first < second, each once, in order."""

    first: Places
    second: Places
    score: NDArray[np.float64]
    """ROUGE-L F1."""


class HashedTexts(NamedTuple):
    """What a search compares texts by, as arrays, which processes can share as files."""

    items: Hashes
    """Of all texts, one text behind the other."""
    starts: Hashes
    """Where each text begins, and where the last one ends."""
    codes: NDArray[np.uint32]
    """For each token a symbol, or a number where there are more tokens than characters."""
    sketches: NDArray[np.uint64]
    """[texts, SKETCH / 64]."""

    def save(self, folder: Path) -> None:
        for name, saved in self._asdict().items():
            np.save(folder / name, saved)

    @classmethod
    def load(cls, folder: Path) -> "HashedTexts":
        """As they are on disk: processes that load them share the memory."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in cls._fields))


def hash_texts(texts: Iterable[Sequence[str]], seed: int = 0) -> HashedTexts:
    """`texts`: the tokens of each, at least one."""
    tokens, bounds = array("Q"), array("Q", [0])
    for text in texts:
        tokens.extend(map(hash_token, text))
        bounds.append(len(tokens))
    flat, starts = np.frombuffer(tokens, np.uint64), np.frombuffer(bounds, np.uint64)
    codes = _encode_tokens(flat)
    items = number_occurrences(flat, starts)
    return HashedTexts(*items, codes, _sketch_texts(items, seed))


def _sketch_texts(items: Items, seed: int) -> NDArray[np.uint64]:
    """The last bits of slots that no unit has; the slots of all texts at once would take 32 times the memory."""
    sketches = np.empty((len(items.starts) - 1, SKETCH // 64), np.uint64)
    for first in range(0, len(sketches), _BLOCK):
        some = Items(items.hashes, items.starts[first : first + _BLOCK + 1])
        bits = sign(some, SKETCH, hash_token(f"{seed}/sketch")).astype(np.uint8) & 1
        sketches[first : first + _BLOCK] = np.packbits(bits, axis=1).view(np.uint64)
    return sketches


class Wanted(NamedTuple):
    """Which pairs are looked for."""

    threshold: float
    """The least ROUGE-L F1 that bands are made for."""
    seed: int = 0
    """That of the texts; searches with other seeds miss other pairs."""
    border: int | None = None
    """Only pairs of a text in front of this place and one from it on."""
    floor: float | None = None
    """The least score, if it is not the threshold. Pairs below the threshold are found with a lower probability, and
    none that shares next to nothing."""


class PairSearch:
    """Looks for near pairs through one unit of bands after another."""

    def __init__(self, texts: HashedTexts, wanted: Wanted) -> None:
        self._texts, self._seed, self._border = texts, wanted.seed, wanted.border
        threshold = wanted.threshold
        self._floor = threshold - TOLERANCE if wanted.floor is None else wanted.floor
        self._band_rows = choose_band_rows(threshold)
        self._lengths = np.diff(texts.starts).astype(np.int64)
        self._all_characters = texts.codes.max(initial=0) <= sys.maxunicode
        self._ratio = compute_least_jaccard(threshold)

    def find(self, unit: int) -> NearPairs:
        """The wanted pairs that agree in a band of the unit."""
        items = Items(self._texts.items, self._texts.starts)
        signatures = sign(items, SLOTS, hash_token(f"{self._seed}/{unit}"))
        tests: list[Callable[[Places, Places], Flags]] = [self._lie_around_border, self._have_near_lengths]
        tests += [partial(self._have_near_sketches, bits) for bits in (SKETCH // 2, SKETCH)]
        codes = [np.empty(0, np.int64)]
        for one, other in iter_collisions(signatures, self._band_rows):
            first, second = np.minimum(one, other), np.maximum(one, other)
            for keep in tests:
                kept = keep(first, second)
                first, second = first[kept], second[kept]
            codes.append(first * len(self._lengths) + second)
        first, second = np.divmod(np.unique(np.concatenate(codes)), max(1, len(self._lengths)))
        scores = self._score(first, second)
        near = scores >= self._floor
        return NearPairs(first[near], second[near], scores[near])

    def _lie_around_border(self, first: Places, second: Places) -> Flags:
        if self._border is None:
            return np.ones(len(first), np.bool_)
        flags: Flags = (first < self._border) & (second >= self._border)
        return flags

    def _have_near_lengths(self, first: Places, second: Places) -> Flags:
        """No pair with a J from the bound on has a text shorter than that share of the other."""
        one, other = self._lengths[first], self._lengths[second]
        flags: Flags = np.minimum(one, other) >= self._ratio * np.maximum(one, other) - ROUNDING
        return flags

    def _have_near_sketches(self, bits: int, first: Places, second: Places) -> Flags:
        """By the first `bits` of the sketches."""
        agree = (1 + self._ratio) / 2
        most_different = bits * (1 - agree) + DEVIATIONS * (bits * agree * (1 - agree)) ** 0.5
        sketches = self._texts.sketches[:, : bits // 64]
        different = np.bitwise_count(sketches[first] ^ sketches[second]).sum(axis=1, dtype=np.int64)
        flags: Flags = different <= most_different
        return flags

    def _score(self, first: Places, second: Places) -> NDArray[np.float64]:
        scores = np.zeros(len(first))
        for begin in range(0, len(first), _BLOCK):
            one, other = first[begin : begin + _BLOCK], second[begin : begin + _BLOCK]
            mine = list(map(self._spell, one.tolist()))
            theirs = [_as_second(self._spell(place)) for place in other.tolist()]
            common = cpdist(mine, theirs, scorer=LCSseq.similarity, dtype=np.int32)
            with np.errstate(invalid="ignore"):  # nothing in common
                scored = compute_f1(common, self._lengths[one], self._lengths[other])
            scores[begin : begin + _BLOCK] = np.where(common > 0, scored, 0.0)
        return scores

    def _spell(self, place: int) -> Encoded:
        """A text as characters, or as numbers where one is none."""
        begin, end = self._texts.starts[place : place + 2].tolist()
        codes = self._texts.codes[begin:end]
        if self._all_characters or codes.max(initial=0) <= sys.maxunicode:
            return codes.astype("<u4").tobytes().decode("utf-32-le")
        return list(codes.tolist())


def _encode_tokens(tokens: Hashes) -> NDArray[np.uint32]:
    """A symbol a token, as Alphabet gives them, but for tokens that occur once."""
    every = np.sort(tokens)
    shared = np.unique(every[1:][every[1:] == every[:-1]])
    del every
    padded = np.append(shared, 0)
    codes = np.empty(len(tokens), np.uint32)
    for first in range(0, len(tokens), _TOKENS):
        part = tokens[first : first + _TOKENS]
        places = np.searchsorted(shared, part)
        is_shared = padded[places] == part
        found = np.where(is_shared & (places < len(shared)), places + _SHARED, _ONCE)
        codes[first : first + _TOKENS] = found + np.where(found >= _FIRST_SURROGATE, _SURROGATES, 0)
    return codes


def _as_second(text: Encoded) -> Encoded:
    if isinstance(text, str):
        return text.replace(chr(_ONCE), chr(_ONCE_IN_SECOND))
    return [_ONCE_IN_SECOND if symbol == _ONCE else symbol for symbol in text]


def join_pairs(found: Sequence[NearPairs]) -> NearPairs:
    """The pairs of several units, each once."""
    first, second, score = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((second, first))
    first, second, score = first[order], second[order], score[order]
    is_new = np.ones(len(first), np.bool_)
    is_new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return NearPairs(first[is_new], second[is_new], score[is_new])
