"""Seeded synthetic chunks of network documents, 140 words each, for a benchmark that needs a million of them.

Nineteen of twenty words follow the Zipf-Mandelbrot law over 60,000 (bench/synthetic_text.py), so that the vocabulary
grows as in real text; the others are AS numbers, prefixes, attributes and clauses, most of them rare.
"""

from collections.abc import Iterator

import numpy as np

from bench.synthetic_text import spell_word

WORDS, WORDS_A_CHUNK = 60_000, 140
_BLOCK = 1_000
_ATTRIBUTES = ("LOCAL_PREF", "AS_PATH", "NEXT_HOP", "ADD-PATH", "MED", "as-path", "hold-time", "N2", "N4", "5QI")


def make_chunks(number: int, seed: int = 0) -> Iterator[str]:
    """`number` chunks; a smaller number gives the first of the same."""
    random = np.random.default_rng(seed)
    names = np.array([spell_word(rank) for rank in range(WORDS)], dtype=object)
    bounds = np.cumsum((np.arange(1, WORDS + 1) + 2.7) ** -1.1)
    bounds /= bounds[-1]
    for _ in range(-(-number // _BLOCK)):
        chunks = names[np.searchsorted(bounds, random.random((_BLOCK, WORDS_A_CHUNK)))]
        places = random.integers(0, WORDS_A_CHUNK, (_BLOCK, 7))
        numbers = (random.random((_BLOCK, 7)) ** 2 * 2**16).astype(int)
        for chunk, where, drawn in zip(chunks, places, numbers.tolist(), strict=True):
            chunk[where] = _name_identifiers(drawn)
        yield from (" ".join(chunk) for chunk in chunks[: min(_BLOCK, number)])
        number -= _BLOCK


def _name_identifiers(drawn: list[int]) -> list[str]:
    """Seven of them from seven numbers below 2 ** 16."""
    one, two, three, four, five, six, seven = drawn
    return [
        f"AS{64_496 + one}",
        f"AS{two}",
        f"10.{three >> 8}.{three & 255}.0/24",
        f"2001:db8:{four:x}::/48",
        _ATTRIBUTES[five % len(_ATTRIBUTES)],
        f"38.{six % 1000}",
        f"{seven}",
    ]
