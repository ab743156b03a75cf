"""All pairs of many texts with a ROUGE-L F1 from a threshold on: candidates by MinHash, each checked exactly.

minhash.py finds the candidates and says which pairs it may miss. Every pair that is returned has the score that
NoveltyIndex gives it, to the last bit.
"""

import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cpdist

from netllama.novelty.minhash import (
    SLOTS,
    Hashes,
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
SKETCH = 256
"""Bits of each text that tell most candidates from near pairs without a look at the texts."""
DEVIATIONS = 5.0
"""A candidate is out where its sketches agree in fewer bits than those of a pair at the bound by so many standard
deviations: one of 3 million near pairs."""
ROUNDING = 1e-9
# Pairs that are scored, and texts that are encoded, at a time.
_BLOCK = 5_000
_FIRST_SURROGATE, _SURROGATES = 0xD800, 0x800
# A token that occurs once in all texts is one symbol in the first text of a pair and another in the second.
_ONCE, _ONCE_IN_SECOND, _SHARED = 1, 2, 3

Flags = NDArray[np.bool_]
Wanted = Callable[[Places, Places], Flags]
"""Which pairs are looked for, given the places of their first and of their second texts."""


def is_small(rows: int, threshold: float) -> bool:
    """Whether so many rows are compared by NoveltyIndex."""
    return rows <= EXACT_ROWS or choose_band_rows(threshold) < LEAST_BAND_ROWS


class NearPairs(NamedTuple):
    """Pairs of places of texts, first < second, each once, in order."""

    first: Places
    second: Places
    score: NDArray[np.float64]
    """ROUGE-L F1."""


class PairSearch:
    """The texts, hashed, encoded and sketched; `find` looks through one unit of bands."""

    def __init__(self, texts: Iterable[Sequence[str]], threshold: float, seed: int = 0) -> None:
        """`texts`: the tokens of each, at least one. Searches with other seeds miss other pairs."""
        tokens, starts = array("Q"), array("Q", [0])
        for text in texts:
            tokens.extend(map(hash_token, text))
            starts.append(len(tokens))
        self._seed, self._threshold = seed, threshold
        self._band_rows = choose_band_rows(threshold)
        flat, bounds = np.frombuffer(tokens, np.uint64), np.frombuffer(starts, np.uint64)
        self._lengths = np.diff(bounds).astype(np.int64)
        self._encoded = _encode_texts(flat, bounds)
        self._items = number_occurrences(flat, bounds)
        self._sketches = self._sketch()
        self._ratio = compute_least_jaccard(threshold)
        agree = (1 + self._ratio) / 2
        self._most_different = SKETCH * (1 - agree) + DEVIATIONS * (SKETCH * agree * (1 - agree)) ** 0.5

    def find(self, unit: int, floor: float | None = None, wanted: Wanted | None = None) -> NearPairs:
        """The pairs that agree in a band of the unit, are `wanted`, and score at least the threshold, or `floor`.

        Pairs below the threshold are found with a lower probability, and none that shares next to nothing.
        """
        signatures = sign(self._items, SLOTS, hash_token(f"{self._seed}/{unit}"))
        codes = [np.empty(0, np.int64)]
        for one, other in iter_collisions(signatures, self._band_rows):
            first, second = np.minimum(one, other), np.maximum(one, other)
            for keep in (wanted, self._have_near_lengths, self._have_near_sketches):
                if keep:
                    kept = keep(first, second)
                    first, second = first[kept], second[kept]
            codes.append(first * len(self._lengths) + second)
        first, second = np.divmod(np.unique(np.concatenate(codes)), max(1, len(self._lengths)))
        scores = self._score(first, second)
        near = scores >= (self._threshold - TOLERANCE if floor is None else floor)
        return NearPairs(first[near], second[near], scores[near])

    def _sketch(self) -> NDArray[np.uint64]:
        """[texts, SKETCH / 64]: the last bits of slots that no unit has."""
        bits = sign(self._items, SKETCH, hash_token(f"{self._seed}/sketch")) & np.uint32(1)
        return np.packbits(bits.astype(np.bool_), axis=1).view(np.uint64)

    def _have_near_lengths(self, first: Places, second: Places) -> Flags:
        """No pair with a J from the bound on has a text shorter than that share of the other."""
        one, other = self._lengths[first], self._lengths[second]
        flags: Flags = np.minimum(one, other) >= self._ratio * np.maximum(one, other) - ROUNDING
        return flags

    def _have_near_sketches(self, first: Places, second: Places) -> Flags:
        different = np.bitwise_count(self._sketches[first] ^ self._sketches[second]).sum(axis=1, dtype=np.int64)
        flags: Flags = different <= self._most_different
        return flags

    def _score(self, first: Places, second: Places) -> NDArray[np.float64]:
        scores = np.zeros(len(first))
        for begin in range(0, len(first), _BLOCK):
            one, other = first[begin : begin + _BLOCK], second[begin : begin + _BLOCK]
            mine = [self._encoded[place] for place in one.tolist()]
            theirs = [_as_second(self._encoded[place]) for place in other.tolist()]
            common = cpdist(mine, theirs, scorer=LCSseq.similarity, dtype=np.int32)
            with np.errstate(invalid="ignore"):  # nothing in common
                scored = compute_f1(common, self._lengths[one], self._lengths[other])
            scores[begin : begin + _BLOCK] = np.where(common > 0, scored, 0.0)
        return scores


def _encode_texts(tokens: Hashes, starts: Hashes) -> list[Encoded]:
    """Each text with a symbol a token, as Alphabet does, but for tokens that occur once."""
    every = np.sort(tokens)
    shared = np.unique(every[1:][every[1:] == every[:-1]])
    del every
    encoded: list[Encoded] = []
    for first in range(0, len(starts) - 1, _BLOCK):
        bounds = starts[first : first + _BLOCK + 1].astype(np.int64)
        part = tokens[bounds[0] : bounds[-1]]
        places = np.searchsorted(shared, part)
        is_shared = np.append(shared, 0)[places] == part
        codes = np.where(is_shared & (places < len(shared)), places + _SHARED, _ONCE)
        codes += np.where(codes >= _FIRST_SURROGATE, _SURROGATES, 0)
        for begin, end in pairwise((bounds - bounds[0]).tolist()):
            encoded.append(_spell_codes(codes[begin:end]))
    return encoded


def _spell_codes(codes: Places) -> Encoded:
    """As characters, or as numbers where one is none."""
    if codes.max(initial=0) > sys.maxunicode:
        return list(codes.tolist())
    return codes.astype("<u4").tobytes().decode("utf-32-le")


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
