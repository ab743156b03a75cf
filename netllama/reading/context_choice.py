"""Which documents a question is shown with, and in which order: a function of the seed and the question alone.

The answer's place among them is drawn like everything else. A model that saw it in one place more often would look
there (of four, the third was cited wrongly where it was seldom the right one).
"""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

FULL_SHARE = 0.4
"""So many contexts have as many documents as they may. The others have from one to all, each number as often."""


def choose_context(key: str, golden: str, distractors: Sequence[str], most: int) -> list[str]:
    """Ids of up to `most` documents as they are shown: the one with the answer, if any, and the first distractors."""
    draw = random.Random(key)
    number = most if draw.random() < FULL_SHARE else draw.randint(1, most)
    chosen = [golden, *distractors[: number - 1]] if golden else list(distractors[:number])
    draw.shuffle(chosen)
    return chosen


def shuffle(key: str, items: Sequence[T]) -> list[T]:
    return random.Random(key).sample(list(items), len(items))


def draws(key: str, share: float) -> bool:
    """Whether `key` is among the `share` of keys that are drawn."""
    return random.Random(f"{key}/drawn").random() < share
