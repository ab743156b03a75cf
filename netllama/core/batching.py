"""Rows of token ids into padded batches, longest first, the same batches on every run."""

from collections.abc import Iterator, Sequence


def by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Positions in batches of `batch_size`, by falling length: the largest batch shows first if it fits."""
    order = sorted(range(len(lengths)), key=lambda position: (-lengths[position], position))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
