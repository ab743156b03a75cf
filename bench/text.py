"""Seeded synthetic instructions: the input of the benchmarks that need more text than anybody has written.

Word frequencies follow the Zipf-Mandelbrot law, p(rank) ~ 1 / (rank + 2.7) ** 1.1 over 60,000 words, so the vocabulary
grows with the number of texts as that of real text does (Heaps). Every second text begins with one of 300 openings,
as real instructions do ("Write a ...", "Given the following ..."); a share are copies of an earlier text, edited
lightly to heavily, which puts their ROUGE-L on both sides of any threshold.
"""

import itertools
import random

_SYLLABLES = [consonant + vowel for consonant in "bdfghjklmnprstvwz" for vowel in ("a", "e", "i", "o", "u", "ay")]
_WORDS = 60_000
_OPENINGS = 300


class Words:
    """Random words by their natural frequencies."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._words = [_word(rank) for rank in range(_WORDS)]
        self._weights = list(itertools.accumulate((rank + 2.7) ** -1.1 for rank in range(1, _WORDS + 1)))

    def some(self, number: int) -> list[str]:
        return self._draw.choices(self._words, cum_weights=self._weights, k=number)


def instructions(number: int, seed: int = 0, words: tuple[int, int] = (8, 40), copies: float = 0.1) -> list[str]:
    """`number` texts of `words` (fewest, most) words, of which the share `copies` are edited copies of earlier ones.

    The first texts are the same for any `number`.
    """
    draw = random.Random(seed)
    source = Words(draw)
    openings = [source.some(draw.randint(2, 5)) for _ in range(_OPENINGS)]
    texts: list[list[str]] = []
    for _ in range(number):
        if texts and draw.random() < copies:
            text = _edited(draw.choice(texts), draw.uniform(0.02, 0.6), draw, source)
        else:
            # The shorter the likelier: the mean is a third of the way up.
            length = round(draw.triangular(*words, words[0]))
            opening = openings[int(_OPENINGS * draw.random() ** 3)] if draw.random() < 0.5 else []
            text = opening + source.some(length - len(opening))
        texts.append(text)
    return [f"{text[0].capitalize()} {' '.join(text[1:])}." for text in texts]


def _edited(text: list[str], share: float, draw: random.Random, source: Words) -> list[str]:
    """Each word is replaced (half of `share`), followed by a new one (a quarter) or left out (a quarter)."""
    edited = []
    for word in text:
        kind = draw.random() / share
        if kind >= 0.5:
            edited += [] if 0.75 <= kind < 1 else [word]
        if kind < 0.75:
            edited += source.some(1)
    return edited or source.some(len(text))


def _word(rank: int) -> str:
    """The word of a rank (0 is the most frequent): the frequent ones are short."""
    syllables = []
    while rank >= 0:
        rank, digit = divmod(rank, len(_SYLLABLES))
        syllables.append(_SYLLABLES[digit])
        rank -= 1
    return "".join(reversed(syllables))
