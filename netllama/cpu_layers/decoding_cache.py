"""Keys and values of rows that are decoded together, in memory that no step copies.

transformers' cache concatenates all keys and values with the new ones at each token, and keeps rows that have ended.
Here a step writes into a place that is there already, and a row that ends gives its slot to the last one. All rows end
at one place, so that their new tokens are one slice: written by index they took 7% of a step.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

CHUNK = 64
"""Places that the cache grows by. Products read all of them, so that they read memory without gaps."""


class DecodingCache:
    """`count` rows in the first of `slots` slots; row i is the `lengths[i]` tokens before the place `width`."""

    def __init__(self, slots: int, layers: int, heads: int, size: int, dtype: torch.dtype) -> None:
        self.slots, self.count, self.width = slots, 0, 0
        self.lengths = torch.zeros(slots, dtype=torch.long)
        # Zeros, not anything: what no query sees still has the weight 0, and 0 times a NaN is one.
        self.keys = [torch.zeros(slots, heads, size, 0, dtype=dtype) for _ in range(layers)]
        """A layer's [slots, H, D, C]: their product with queries reads along rows."""
        self.values = [torch.zeros(slots, heads, 0, size, dtype=dtype) for _ in range(layers)]
        """A layer's [slots, H, C, D]."""

    @property
    def places(self) -> int:
        """C: all places, with those behind `width`."""
        return self.values[0].shape[2]

    def append(self, rows: Sequence[tuple[Tensor, Tensor]], lengths: Sequence[int]) -> None:
        """Put new rows behind those that are there: by layer, keys and values [N, H, T, D], each row's first tokens."""
        self._move_end(max(*lengths, *self.lengths[: self.count].tolist(), 0))
        for row, length in enumerate(lengths):
            slot, begin = self.count + row, self.width - length
            for layer, (keys, values) in enumerate(rows):
                self.keys[layer][slot, :, :, begin : self.width] = keys[row, :, :length].transpose(1, 2)
                self.values[layer][slot, :, begin : self.width] = values[row, :, :length]
            self.lengths[slot] = length
        self.count += len(lengths)

    def list_unseen(self) -> Tensor:
        """[count, C]: true where no query of a row looks whose own token is at the place `width`."""
        places = torch.arange(self.places)
        return (places < self.width - self.lengths[: self.count, None]) | (places > self.width)

    def make_room(self) -> None:
        """A place for one more token of each row."""
        if self.width == self.places:
            for layer, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
                self.keys[layer] = torch.nn.functional.pad(keys, (0, CHUNK))
                self.values[layer] = torch.nn.functional.pad(values, (0, 0, 0, CHUNK))

    def advance(self) -> None:
        """What stands at the place `width` is part of the rows from now on."""
        self.width += 1
        self.lengths[: self.count] += 1

    def remove(self, slot: int) -> None:
        """Take out the row in `slot`; the last row moves there."""
        self.count -= 1
        if slot < self.count:
            for tensors in (self.keys, self.values):
                for tensor in tensors:
                    tensor[slot] = tensor[self.count]
            self.lengths[slot] = self.lengths[self.count]

    def _move_end(self, width: int) -> None:
        """Move all rows so that they end at `width`, and take the memory that this needs."""
        if width == self.width:
            return
        kept = min(width, self.width)
        before, after = slice(self.width - kept, self.width), slice(width - kept, width)
        places = -(-width // CHUNK) * CHUNK
        for layer, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            self.keys[layer] = keys.new_zeros(*keys.shape[:3], places)
            self.values[layer] = values.new_zeros(*values.shape[:2], places, values.shape[3])
            self.keys[layer][..., after] = keys[..., before]
            self.values[layer][:, :, after] = values[:, :, before]
        self.width = width
