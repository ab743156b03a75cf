"""Keys and values of rows that are decoded together, in memory that no step copies.

transformers' cache concatenates all keys and values with the new ones at each token, and keeps rows that have ended.
Here a step writes into places that are there already, and a row that ends gives its slot to the last one. A row begins
at the place 0, so that rows may grow by different numbers of tokens; what a step wrote and `advance` did not count is
written over by the next one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

CHUNK = 64
"""Places that the cache grows by. Products read all of them, so that they read memory without gaps."""


class DecodingCache:
    """`count` rows in the first of `slots` slots; row i is what stands in its first `lengths[i]` places."""

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
        """C: all places, the free ones too."""
        return self.values[0].shape[2]

    def append(self, rows: Sequence[tuple[Tensor, Tensor]], lengths: Sequence[int]) -> None:
        """Put new rows behind those that are there: by layer, keys and values [N, H, T, D], each row's first tokens."""
        self._resize(max(*lengths, self._longest))
        for row, length in enumerate(lengths):
            slot = self.count + row
            for layer, (keys, values) in enumerate(rows):
                self.keys[layer][slot, :, :, :length] = keys[row, :, :length].transpose(1, 2)
                self.values[layer][slot, :, :length] = values[row, :, :length]
            self.lengths[slot] = length
        self.count += len(lengths)

    def list_unseen(self, number: int) -> Tensor:
        """[count, number, C]: true where a row's token does not look that comes `number` or fewer after the row."""
        last = self.lengths[: self.count, None] + torch.arange(number)
        return torch.arange(self.places) > last[..., None]

    def make_room(self, number: int) -> None:
        """Places for `number` more tokens of each row."""
        if self._longest + number > self.places:
            self._resize(self._longest + number)

    def write(self, layer: int, rows: Tensor, places: Tensor, keys: Tensor, values: Tensor) -> None:
        """Put keys and values [N, H, D] into these places [N] of these rows [N]."""
        self.keys[layer][rows, :, :, places] = keys
        self.values[layer][rows, :, places] = values

    def advance(self, numbers: Sequence[int]) -> None:
        """So many of the tokens that were written behind each row are part of it from now on."""
        self.lengths[: self.count] += torch.tensor(numbers)

    def remove(self, slot: int) -> None:
        """Take out the row in `slot`; the last row moves there."""
        self.count -= 1
        if slot < self.count:
            for tensors in (self.keys, self.values):
                for tensor in tensors:
                    tensor[slot] = tensor[self.count]
            self.lengths[slot] = self.lengths[self.count]

    @property
    def _longest(self) -> int:
        return max(self.lengths[: self.count].tolist(), default=0)

    def _resize(self, needed: int) -> None:
        """As many places as these take; what lies behind them is lost."""
        added = -(-needed // CHUNK) * CHUNK - self.places
        if added:
            for layer, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
                self.keys[layer] = torch.nn.functional.pad(keys, (0, added))
                self.values[layer] = torch.nn.functional.pad(values, (0, 0, 0, added))
