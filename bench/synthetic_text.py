"""Seeded synthetic instructions, for the benchmarks that need more text than anybody has written.

Word frequencies follow the Zipf-Mandelbrot law, p(rank) ~ 1 / (rank + 2.7) ** 1.1 over 60,000 words, so the vocabulary
grows with the number of texts as in real text (Heaps' law). Every second text begins with one of 300 openings, as real
instructions do ("Write a ...", "Given the following ..."). A share of the texts are copies of earlier ones, edited
lightly to heavily, so that their ROUGE-L scores lie on both sides of any threshold.
"""

import itertools
import random

_SYLLABLES = [consonant + vowel for consonant in "bdfghjklmnprstvwz" for vowel in ("a", "e", "i", "o", "u", "ay")]
_WORDS = 60_000
_OPENINGS = 300


class Words:
    """Draws random words with natural frequencies."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._words = [spell_word(rank) for rank in range(_WORDS)]
        self._weights = list(itertools.accumulate((rank + 2.7) ** -1.1 for rank in range(1, _WORDS + 1)))

    def draw_words(self, number: int) -> list[str]:
        return self._draw.choices(self._words, cum_weights=self._weights, k=number)


def make_instructions(number: int, seed: int = 0, words: tuple[int, int] = (8, 40), copies: float = 0.1) -> list[str]:
    """`number` texts of `words` (fewest, most) words; the share `copies` of them are edited copies of earlier ones.

    A smaller `number` gives the first of the same texts.
    """
    draw = random.Random(seed)
    source = Words(draw)
    openings = [source.draw_words(draw.randint(2, 5)) for _ in range(_OPENINGS)]
    texts: list[list[str]] = []
    for _ in range(number):
        if texts and draw.random() < copies:
            text = _edit_copy(draw.choice(texts), draw.uniform(0.02, 0.6), draw, source)
        else:
            # Short texts are likelier: the mean is a third of the way up.
            length = round(draw.triangular(*words, words[0]))
            opening = openings[int(_OPENINGS * draw.random() ** 3)] if draw.random() < 0.5 else []
            text = opening + source.draw_words(length - len(opening))
        texts.append(text)
    return [f"{text[0].capitalize()} {' '.join(text[1:])}." for text in texts]


def _edit_copy(text: list[str], share: float, draw: random.Random, source: Words) -> list[str]:
    """Change the share `share` of the words: replace half of them, drop a quarter, add a word after a quarter."""
    edited = []
    for word in text:
        kind = draw.random() / share
        if kind >= 0.5:
            edited += [] if 0.75 <= kind < 1 else [word]
        if kind < 0.75:
            edited += source.draw_words(1)
    return edited or source.draw_words(len(text))


def spell_word(rank: int) -> str:
    """The word with a rank, from 0 for the most frequent word. Frequent words are short."""
    syllables = []
    while rank >= 0:
        rank, digit = divmod(rank, len(_SYLLABLES))
        syllables.append(_SYLLABLES[digit])
        rank -= 1
    return "".join(reversed(syllables))
