"""Seeded synthetic English-like instructions: the input of the benchmarks that need a lot of text.

Words follow the Zipf-Mandelbrot law p(rank) ~ 1 / (rank + 2.7) ** 1.1 over 60,000 words, so that the vocabulary
grows with the number of texts (Heaps) as that of real text does. Every second text begins with one of 300 openings
(real instructions do: "Write a ...", "Given the ..."), and a share are edited copies of an earlier text, lightly to
heavily, which puts their ROUGE-L on both sides of any threshold.
"""

import itertools
import random

_SYLLABLES = [consonant + vowel for consonant in "bdfghjklmnprstvwz" for vowel in ("a", "e", "i", "o", "u", "ay")]
_VOCABULARY = 60_000
_OPENINGS = 300


def word(rank: int) -> str:
    """The word of a rank (0 is the most frequent); frequent words are short."""
    syllables = []
    while rank >= 0:
        rank, digit = divmod(rank, len(_SYLLABLES))
        syllables.append(_SYLLABLES[digit])
        rank -= 1
    return "".join(reversed(syllables))


def instructions(number: int, seed: int = 0, words: tuple[int, int] = (8, 40), copies: float = 0.1) -> list[str]:
    """`number` texts of `words` (fewest, most) words, of which a share `copies` are edited copies."""
    draw = random.Random(seed)
    vocabulary = [word(rank) for rank in range(_VOCABULARY)]
    weights = list(itertools.accumulate((rank + 2.7) ** -1.1 for rank in range(1, _VOCABULARY + 1)))

    def some(count: int) -> list[str]:
        return draw.choices(vocabulary, cum_weights=weights, k=count)

    openings = [some(draw.randint(2, 5)) for _ in range(_OPENINGS)]
    texts: list[list[str]] = []
    for _ in range(number):
        if texts and draw.random() < copies:
            text = _edited(draw.choice(texts), draw.uniform(0.02, 0.6), draw, some)
        else:
            # The shorter the likelier, as in real instructions: the mean is a third of the way up.
            length = round(draw.triangular(*words, words[0]))
            opening = openings[int(_OPENINGS * draw.random() ** 3)] if draw.random() < 0.5 else []
            text = (opening + some(length))[:length]
        texts.append(text)
    return [f"{text[0].capitalize()} {' '.join(text[1:])}." for text in texts]


def _edited(text, share, draw, some):  # type: ignore[no-untyped-def]
    edited = []
    for token in text:
        kind = draw.random() / share
        if kind >= 1:
            edited.append(token)
        elif kind < 0.5:
            edited += some(1)
        elif kind < 0.75:
            edited += [token, *some(1)]
    return edited or some(len(text))
