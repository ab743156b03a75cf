"""Many strings in two arrays, one of bytes and one of offsets, so that a table of millions opens without reading it.

Terms are sorted, and found by bisection: some twenty reads for a million.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StringTable:
    """`utf8` (bytes,) holds the strings one after the other; string i is from `offsets[i]` to `offsets[i + 1]`."""

    utf8: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @classmethod
    def pack(cls, strings: Sequence[str]) -> "StringTable":
        encoded = [string.encode() for string in strings]
        offsets = np.fromiter(accumulate(map(len, encoded), initial=0), np.int64, len(encoded) + 1)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, place: int) -> bytes:
        """The string's UTF-8, which sorts as its characters do."""
        if not 0 <= place < len(self):
            raise IndexError(place)
        return self.utf8[self.offsets[place] : self.offsets[place + 1]].tobytes()

    def read(self, place: int) -> str:
        return self[place].decode()

    def find(self, string: str) -> int | None:
        """The place of a string in a sorted table."""
        wanted = string.encode()
        place = bisect_left(self, wanted)
        return place if place < len(self) and self[place] == wanted else None
