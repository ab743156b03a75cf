"""Keys and values of rows that are decoded together, in memory that no step copies.

transformers' cache concatenates all keys and values with the new ones at each token, and keeps rows that have ended.
Here a step writes into places that are there already, and a row that ends gives its slot to the last one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

CHUNK = 64
"""Places that the cache grows by. Products read all of them, so that they read memory without gaps."""


class DecodingCache:
    """`count` rows in the first of `slots` slots; row i has `lengths[i]` tokens, from place 0 on."""

    def __init__(self, slots: int, layers: int, heads: int, size: int, dtype: torch.dtype) -> None:
        self.slots, self.count = slots, 0
        self.lengths = torch.zeros(slots, dtype=torch.long)
        # Zeros, not anything: what no query sees still has the weight 0, and 0 times a NaN is one.
        self.keys = [torch.zeros(slots, heads, size, 0, dtype=dtype) for _ in range(layers)]
        """A layer's [slots, H, D, C]: their product with queries reads along rows."""
        self.values = [torch.zeros(slots, heads, 0, size, dtype=dtype) for _ in range(layers)]
        """A layer's [slots, H, C, D]."""

    @property
    def places(self) -> int:
        """C: tokens that a row has room for."""
        return self.values[0].shape[2]

    def append(self, rows: Sequence[tuple[Tensor, Tensor]], lengths: Sequence[int]) -> None:
        """Put new rows behind those that are there: by layer, keys and values [N, H, T, D], each row's first tokens."""
        start, end, width = self.count, self.count + len(lengths), max(lengths)
        self._grow(width)
        for layer, (keys, values) in enumerate(rows):
            self.keys[layer][start:end, :, :, :width] = keys[:, :, :width].transpose(2, 3)
            self.values[layer][start:end, :, :width] = values[:, :, :width]
        self.lengths[start:end] = torch.tensor(lengths)
        self.count = end

    def make_room(self) -> None:
        """Room for one more token of each row."""
        self._grow(int(self.lengths[: self.count].max()) + 1)

    def remove(self, slot: int) -> None:
        """Take out the row in `slot`; the last row moves there."""
        self.count -= 1
        if slot < self.count:
            for tensors in (self.keys, self.values):
                for tensor in tensors:
                    tensor[slot] = tensor[self.count]
            self.lengths[slot] = self.lengths[self.count]

    def _grow(self, places: int) -> None:
        if places <= self.places:
            return
        more = -(-places // CHUNK) * CHUNK - self.places
        for layer, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            self.keys[layer] = torch.nn.functional.pad(keys, (0, more))
            self.values[layer] = torch.nn.functional.pad(values, (0, 0, 0, more))
