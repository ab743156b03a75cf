"""Dropout masks that a CPU makes fast: cut out of a pool of random bits. bernoulli_ alone took 20% of a step."""

import torch
from torch import Tensor

# Places in the pool where a mask may begin, 16 MB in bf16: several times the largest mask of a batch of 1,500 tokens.
POOL = 2**23


class DropoutPool:
    """Keep-masks of independent entries: each is a slice, at a random offset, of one pool that is drawn anew each step.

    Entries of one mask are independent; masks of two layers may overlap in the pool, shifted against each other.
    """

    def __init__(self, rate: float, dtype: torch.dtype) -> None:
        self.rate, self.dtype = rate, dtype
        self._largest = 0
        self.refresh()

    def refresh(self) -> None:
        """New random bits, from torch's generator: masks are a function of its state here and at each `mask`.

        Of nothing else: where gradients are checkpointed, a layer that runs again from the same state must get its
        mask again. So the bits are of a seed drawn here, and more of them, for a larger mask, begin with the same ones.
        """
        self._seed = int(torch.randint(2**63 - 1, ()))
        self._pool = torch.empty(0)

    def mask(self, shape: torch.Size) -> Tensor:
        """0 or 1 of `shape`, 1 with the probability 1 - rate."""
        size = shape.numel()
        if len(self._pool) < POOL + size:
            self._largest = max(self._largest, size)
            self._pool = self._draw(POOL + self._largest)
        offset = int(torch.randint(POOL, ()))
        return self._pool[offset : offset + size].view(shape)

    def _draw(self, size: int) -> Tensor:
        # Four 16-bit numbers from each 64 random bits, compared as whole numbers: a third of bernoulli_'s time.
        generator = torch.Generator().manual_seed(self._seed)
        bits = torch.empty(-(-size // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
        return (bits.view(torch.int16)[:size] >= round(self.rate * 2**16) - 2**15).to(self.dtype)
