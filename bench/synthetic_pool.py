"""A pool of instructions for the split: seeded, of the words of this project's corpus, with near-duplicates planted.

A row is an instruction of 10 to 40 words and an answer of 20 to 150. Words have the frequencies that they have in
data/corpus/; one in twelve is a number, an address, a prefix or an AS number, and one in forty a name that no other
row has. A planted row is an earlier row of which up to a third of the words are replaced, dropped or added, one by one
or in a single stretch: ROUGE-L F1 from 1.0 down to below 0.7. Copies of copies make groups of several rows.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from netllama.core.records import Instruction

CORPUS = Path(__file__).parent.parent / "data" / "corpus"
FAMILIES = 5
MOST_CHANGED = 0.34


class _Phrases:
    """Draws words of the corpus by their frequency, numbers, addresses and names."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        texts = (path.read_text(encoding="utf-8").lower() for path in sorted(CORPUS.rglob("*.md")))
        counts = Counter(word for text in texts for word in re.findall(r"[a-z][a-z_]*", text))
        self._words = sorted(counts)
        self._weights = list(accumulate(counts[word] for word in self._words))

    def draw_words(self, number: int) -> list[str]:
        words = self._draw.choices(self._words, cum_weights=self._weights, k=number)
        for place in range(number):
            kind = self._draw.random()
            if kind < 1 / 12:
                words[place] = self._draw_number()
            elif kind < 1 / 12 + 1 / 40:
                words[place] = f"name{self._draw.getrandbits(32):08x}z"
        return words

    def _draw_number(self) -> str:
        value = self._draw.getrandbits(31)
        kinds = (
            f"{value % 5000}",
            f"10.{value % 251}.{value % 241}.1",
            f"172.{value % 16}.0.0/24",
            f"as{value % 65000}",
        )
        return kinds[value % 4]


def make_pool(number: int, seed: int = 0, planted: float = 0.1) -> Iterator[Instruction]:
    """`number` rows, of which the share `planted` are near-duplicates of earlier ones.

    A smaller `number` gives the first of the same rows.
    """
    draw = random.Random(seed)
    phrases = _Phrases(draw)
    # The latest rows only: the pool need not be held in memory.
    recent: list[tuple[list[str], list[str]]] = []
    for row in range(number):
        if recent and draw.random() < planted:
            share, stretch = draw.uniform(0, MOST_CHANGED), draw.random() < 0.3
            asked, said = (_change(words, share, stretch, draw, phrases) for words in draw.choice(recent))
        else:
            asked = phrases.draw_words(round(draw.triangular(10, 40, 15)))
            said = phrases.draw_words(round(draw.triangular(20, 150, 50)))
        if len(recent) < 5000:
            recent.append((asked, said))
        else:
            recent[draw.randrange(5000)] = asked, said
        yield Instruction(
            id=f"row-{row:07d}",
            family=f"family_{row % FAMILIES}",
            source="extra",
            instruction=f"{' '.join(asked).capitalize()}.",
            input="",
            output=f"{' '.join(said).capitalize()}.",
        )


def _change(words: list[str], share: float, stretch: bool, draw: random.Random, phrases: _Phrases) -> list[str]:
    """The words with `share` of them changed: in one stretch, or one by one (half replaced, a quarter each dropped and
    followed by a new one)."""
    if stretch:
        length = round(share * len(words))
        start = draw.randrange(len(words) - length + 1)
        return [*words[:start], *phrases.draw_words(length), *words[start + length :]]
    changed = []
    for word in words:
        kind = draw.random() / share if share else 1.0
        if kind >= 0.5:
            changed += [] if 0.75 <= kind < 1 else [word]
        if kind < 0.75:
            changed += phrases.draw_words(1)
    return changed or phrases.draw_words(len(words))
