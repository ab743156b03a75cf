"""Sampling of a batch in which each row has its own random numbers.

One number a row and step, from a generator seeded by the row: what a prompt is answered does not depend on
the rows beside it (but for rounding). transformers draws all rows from one global generator.
"""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from transformers import LogitsProcessor

if TYPE_CHECKING:
    from torch import Tensor

FEW = 256
"""Tokens that nearly always hold top_p: to find them among 49,152 takes 3 ms for 16 rows, to sort all 90 ms."""


class Sampler(LogitsProcessor):
    """Leaves one token a row possible, drawn by temperature and top-p, so that greedy decoding takes it.

    Penalties as the OpenAI API defines them: each token's logit less `frequency_penalty` times its count in the
    answer so far and `presence_penalty` if it is there at all. Temperature 0 takes the likeliest.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        prompt_width: int,
        temperature: float,
        top_p: float,
        frequency_penalty: float,
        presence_penalty: float,
    ) -> None:
        self.draws = [random.Random(seed) for seed in seeds]
        self.prompt_width = prompt_width
        self.temperature = temperature
        self.top_p = top_p
        self.frequency_penalty = frequency_penalty
        self.presence_penalty = presence_penalty

    def __call__(self, input_ids: "Tensor", scores: "Tensor") -> "Tensor":
        """`input_ids` [rows, prompt_width + answer so far], `scores` [rows, vocabulary] -> scores, all but one -inf."""
        import torch

        scores = scores.float()
        answer = input_ids[:, self.prompt_width :]
        if self.frequency_penalty or self.presence_penalty:
            counts = torch.zeros_like(scores).scatter_add_(1, answer, torch.ones_like(answer, dtype=scores.dtype))
            scores = scores - self.frequency_penalty * counts - self.presence_penalty * (counts > 0)
        if self.temperature == 0:
            chosen = scores.argmax(dim=-1, keepdim=True)
        else:
            likely, order, mass = self._likeliest((scores / self.temperature).softmax(dim=-1))
            # Tokens are kept while the mass before them is below top_p: the likeliest always is.
            kept = (mass - likely < self.top_p).sum(dim=-1, keepdim=True)
            drawn = torch.tensor([[draw.random()] for draw in self.draws], device=mass.device) * mass.gather(
                1, kept - 1
            )
            place = torch.minimum(torch.searchsorted(mass, drawn, right=True), kept - 1)
            chosen = order.gather(1, place)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)

    def _likeliest(self, chances: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
        """The tokens that top-p may keep, the likeliest first: (chances, tokens, running sums), [rows, number] each."""
        for number in (FEW, chances.shape[-1]):
            likely, order = chances.topk(min(number, chances.shape[-1]), dim=-1)
            mass = likely.cumsum(dim=-1)
            if bool((mass[:, -1] >= self.top_p).all()):
                break
        return likely, order, mass
