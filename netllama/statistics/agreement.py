"""How far two raters agree on yes or no, beyond what chance alone would give them."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """Of two raters on the same items."""

    items: int
    share: float
    """Of the items on which both say the same."""
    kappa: float | None
    """Cohen's (Educational and Psychological Measurement 1960): 1 all, 0 what chance gives. None where it is not
    defined: both say the same of every item, and it is one and the same word."""


def measure_agreement(one: Sequence[bool], other: Sequence[bool]) -> Agreement:
    """ValueError for lists of unequal lengths, and for none."""
    if len(one) != len(other) or not one:
        raise ValueError(f"no agreement of {len(one)} verdicts and {len(other)}")
    items = len(one)
    same = sum(a == b for a, b in zip(one, other, strict=True)) / items
    yes, also = sum(one) / items, sum(other) / items
    by_chance = yes * also + (1 - yes) * (1 - also)
    # Both shares are multiples of 1 / items, so that only an exact 1 is not defined.
    kappa = None if by_chance == 1 else (same - by_chance) / (1 - by_chance)
    return Agreement(items, same, kappa)
