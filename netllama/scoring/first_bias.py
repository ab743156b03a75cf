"""A bias on one logit at the beginning of an answer: how readily a model opens it with that token.

The refusal of questions with documents begins with a token that no exact answer begins with, so that a bias on this
token moves the balance of right and false refusals, and nothing else in an answer.
"""

from collections.abc import Sequence
from typing import NamedTuple


class FirstBias(NamedTuple):
    """What is added to the logit of `token` where it would be the first of an answer."""

    token: int
    value: float


def place_biases(steerings: Sequence[object]) -> tuple[list[int], list[int], list[float]]:
    """(rows, tokens, values) of the rows that have one; any other kind of steering is none."""
    placed = [(row, bias) for row, bias in enumerate(steerings) if isinstance(bias, FirstBias)]
    return [row for row, _ in placed], [bias.token for _, bias in placed], [bias.value for _, bias in placed]
