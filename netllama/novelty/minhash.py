"""Pairs of texts that may be near-duplicates, found in time that grows with the number of texts: MinHash and its bands.

A text becomes the set of its items: each token with the number of its occurrence (the#1, the#2). Two texts of m and n
tokens with c items in common have the Jaccard similarity J = c / (m + n - c). A common subsequence is at most c long.
So a ROUGE-L F1 of t or more means 2 c / (m + n) >= t, and J >= t / (2 - t): 7/13 for t = 0.7. That holds for every
pair, but only for items. Of token sets without the numbers J can be next to nothing ("the" seventy times, thirty
names), and of pairs of neighbouring words, too, where every other word differs: of 1,880 near pairs with planted
changes, the bands below find all by words, and 85% by pairs of words. Shorter bands of pairs of words find 99% (of 4)
or all (of 3), with no bound behind it; and of the default's own rows, more than twice as many unrelated ones agree in a
band of 3 pairs of words as in one of 6 words.

MinHash signs a set with SLOTS numbers a unit, of which two sets share each with the probability J (Broder, "On the
resemblance and containment of documents", 1997). r of them are a band, and texts that agree in a band are a pair that
is worth a look: of all pairs with a J, 1 - (1 - J^r)^b are found by b bands. `choose_band_rows` takes the largest r
that misses at most one of a thousand pairs at the bound: 6 for t = 0.7, of 320 bands. At 0.75 it misses one of four
million. Shorter bands would find more, but also more pairs that are not near: those grow with the square of the rows.

Signatures are rensa's R-MinHash (MIT licence): they depend on the items and the seed alone, not on the processor, the
threads, or other texts. So a row that is added never changes whether two old ones are compared.
"""

import math
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

UNITS = 16
"""Parts of the search that are independent of each other: what processes of one job can share."""
BANDS = 20
"""Of a unit."""
SLOTS = 64
"""Of a unit's signature. Each is in about two of its bands: signing takes half the time, and the pairs that are missed
are one in a thousand at the bound instead of four in ten thousand."""
MISSED = 1e-3
"""The most that may be missed at the bound, if bands were independent."""
MOST_BAND_ROWS = 16
# Odd, so that each puts the slots into another order.
_STRIDES = (1, 27, 11, 19, 5)
_BASE = np.uint64(0x9E3779B97F4A7C15)
# Texts whose items are numbered at a time, and numbers of signatures that are Python's at a time.
_CHUNK, _NUMBERS = 5_000, 250_000

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]
Signatures = NDArray[np.uint32]


class Items(NamedTuple):
    """The items of all texts, one text behind the other."""

    hashes: Hashes
    starts: Hashes
    """Where each text begins, and where the last one ends."""


def number_occurrences(tokens: Hashes, starts: Hashes) -> Items:
    """Hashed tokens to items, in place: of equal tokens of a text, each becomes another number."""
    texts = len(starts) - 1
    for first in range(0, texts, _CHUNK):
        begin, end = int(starts[first]), int(starts[min(first + _CHUNK, texts)])
        part = tokens[begin:end]
        of_text = np.repeat(
            np.arange(min(_CHUNK, texts - first)), np.diff(starts[first : first + _CHUNK + 1]).astype(int)
        )
        order = np.lexsort((part, of_text))
        is_new = np.ones(len(part), np.bool_)
        is_new[1:] = (part[order][1:] != part[order][:-1]) | (of_text[order][1:] != of_text[order][:-1])
        places = np.arange(len(part))
        number = places - np.maximum.accumulate(np.where(is_new, places, 0))
        tokens[begin + order] += number.astype(np.uint64) * _BASE
    return Items(tokens, starts)


def sign(items: Items, slots: int, seed: int) -> Signatures:
    """The MinHash signatures [texts, slots]. A text without items has the same one as any other such text."""
    from rensa import RMinHash

    signatures = np.empty((len(items.starts) - 1, slots), np.uint32)
    chunk = max(1, _NUMBERS // slots)
    for first in range(0, len(signatures), chunk):
        starts = items.starts[first : first + chunk + 1]
        part = items.hashes[int(starts[0]) : int(starts[-1])]
        rows: list[list[int]] = RMinHash.digest_matrix_from_flat_token_hashes(
            part, starts - starts[0], slots, seed
        ).to_rows()
        flat = np.fromiter(chain.from_iterable(rows), np.uint32, len(rows) * slots)
        signatures[first : first + len(rows)] = flat.reshape(-1, slots)
    return signatures


def compute_least_jaccard(threshold: float) -> float:
    """The least Jaccard similarity of the items of two texts whose ROUGE-L F1 is at least `threshold`."""
    return threshold / (2 - threshold)


def choose_band_rows(threshold: float) -> int:
    """The slots of a band: as many as find all but MISSED of the pairs at the bound; at most MOST_BAND_ROWS."""
    least = compute_least_jaccard(threshold)
    if least <= 0:
        return 0
    needed = 1 - MISSED ** (1 / (UNITS * BANDS))
    return min(MOST_BAND_ROWS, int(math.log(needed) / math.log(least))) if least < 1 else MOST_BAND_ROWS


def list_bands(band_rows: int) -> list[list[int]]:
    """The slots of each of the BANDS bands of a unit."""
    a_round = SLOTS // band_rows
    bands = []
    for band in range(BANDS):
        stride, first = _STRIDES[band // a_round], band % a_round * band_rows
        bands.append([place * stride % SLOTS for place in range(first, first + band_rows)])
    return bands


def iter_collisions(signatures: Signatures, band_rows: int) -> Iterator[tuple[Places, Places]]:
    """Pairs of texts that agree in a band of a unit, in blocks, in no order; a pair comes once for each such band."""
    for band in list_bands(band_rows):
        keys = np.zeros(len(signatures), np.uint64)
        for slot in band:
            keys *= _BASE
            keys += signatures[:, slot]
        yield from _iter_equals(keys)


def _iter_equals(keys: NDArray[Any]) -> Iterator[tuple[Places, Places]]:
    """Pairs of places with equal keys: in their sorted order those that are 1 apart, then 2 apart, and so on."""
    order = np.argsort(keys)
    ranked = keys[order]
    places = np.arange(len(keys))
    for distance in range(1, len(keys)):
        places = places[: np.searchsorted(places, len(keys) - distance)]
        places = places[ranked[places] == ranked[places + distance]]
        if not len(places):
            return
        yield order[places], order[places + distance]
