"""Tokens that are drawn instead of the likeliest ones, the same in every batch, by every way to decode.

The largest of logit / T + Gumbel noise is a draw from the softmax at the temperature T (the Gumbel-max trick: Maddison,
Tarlow and Minka, arXiv 1411.0030). The noise of a token depends on the answer's seed and on the token's place in it
alone, not on what is written beside it, so drafts are checked as in greedy decoding.
"""

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from netllama.scoring.first_bias import FirstBias

if TYPE_CHECKING:
    import torch


class TokenDraw(NamedTuple):
    """An answer whose tokens are drawn."""

    seed: int
    """Of this answer, at least 0; of two samples of one prompt another one each."""
    temperature: float


Steering: TypeAlias = FirstBias | TokenDraw
"""What chooses a token that is not the likeliest one."""


def make_noise(draw: TokenDraw, place: int, size: int) -> "torch.Tensor":
    """[size], fp32: what is added to the logits of the answer's token number `place`, before the largest is taken."""
    import numpy as np
    import torch

    bits = np.random.Philox(key=np.array([draw.seed, place], dtype=np.uint64))
    # In float64: of draws in float32 one in ten million is 0, and its noise infinite.
    noise = -np.log(np.random.Generator(bits).standard_exponential(size))
    return torch.from_numpy((noise * draw.temperature).astype(np.float32))
