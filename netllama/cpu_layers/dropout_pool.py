"""Dropout masks made fast: cut out of a pool of random bits. On a CPU bernoulli_ alone took 20% of a step."""

import torch
from torch import Tensor

# Places in the pool where a mask may begin, 16 MB in bf16: several times the largest mask of a batch of 1,500 tokens.
POOL = 2**23
# A GPU reads 16 bytes at a time, of a slice that begins at a multiple of them.
ALIGNED = {"cuda": 8}
# A GPU's numbers depend on how many are drawn at a time. On a CPU more of them begin with the same ones.
DRAWN_AT_A_TIME = {"cuda": 2**21}
CPU = torch.device("cpu")


class DropoutPool:
    """Keep-masks of independent entries: each is a slice, at a random offset, of one pool that is drawn anew each step.

    Entries of one mask are independent; masks of two layers may overlap in the pool, shifted against each other.
    """

    def __init__(self, rate: float, dtype: torch.dtype, device: torch.device = CPU) -> None:
        self.rate, self.dtype, self.device = rate, dtype, device
        self._step = ALIGNED.get(device.type, 1)
        self._largest = 0
        self.refresh()

    def refresh(self) -> None:
        """New random bits, from the CPU's generator: masks are a function of its state here and at each `mask`.

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
        offset = int(torch.randint(POOL // self._step, ())) * self._step
        return self._pool[offset : offset + size].view(shape)

    def _draw(self, size: int) -> Tensor:
        # Four 16-bit numbers from each 64 random bits, compared as whole numbers: a third of bernoulli_'s time.
        generator = torch.Generator(self.device).manual_seed(self._seed)
        count = -(-size // 4)
        part = DRAWN_AT_A_TIME.get(self.device.type, count)
        bits = torch.empty(-(-count // part) * part, dtype=torch.int64, device=self.device)
        for start in range(0, len(bits), part):
            bits[start : start + part].random_(-(2**63), None, generator=generator)
        return (bits.view(torch.int16)[:size] >= round(self.rate * 2**16) - 2**15).to(self.dtype)
