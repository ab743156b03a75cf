"""Rows of token ids into batches, longest first, and batches into padded tensors: the same on every run."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""The label of a position that has no loss."""


def batch_by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Positions in batches of `batch_size`, by falling length: the largest batch shows first if it fits."""
    order = sorted(range(len(lengths)), key=lambda position: (-lengths[position], position))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def collate_rows(rows: Sequence[tuple[Sequence[int], int]]) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Right-padded input_ids and labels, both [B, T], of rows (ids, start): the labels are the ids from `start` on.

    All other labels are IGNORED. Padding is masked by position, never by token id: the padding token may be the
    end-of-sequence token, and that one must be trained. Under the causal mask no real token sees the padding, so a
    model needs no attention mask for it. No rows: one position that has no loss.
    """
    import torch

    width = max((len(ids) for ids, _ in rows), default=2)
    input_ids = torch.zeros((max(1, len(rows)), width), dtype=torch.long)
    labels = torch.full_like(input_ids, IGNORED)
    for line, (ids, start) in enumerate(rows):
        input_ids[line, : len(ids)] = torch.tensor(ids)
        labels[line, start : len(ids)] = input_ids[line, start : len(ids)]
    return input_ids, labels
