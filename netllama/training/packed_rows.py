"""Rows laid end to end instead of padded: one sequence of real tokens, each row with positions of its own from 0.

All that is needed to make the tensors is known before they exist, so no number is read back from the device.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

Row = tuple[Sequence[int], int]
"""Token ids, and the first of them that is trained."""


class Packing(NamedTuple):
    """Where rows lie in a sequence of N tokens, and which of its tokens predict one that is trained."""

    position_ids: torch.Tensor
    """[1, N]: from 0 in each row."""
    bounds: torch.Tensor
    """[R + 1], int32: where each row begins, and the end of the last one."""
    places: torch.Tensor
    """[S]: the tokens before a trained one."""
    lengths: tuple[int, ...]
    """Of the R rows."""

    def to(self, device: torch.device) -> "Packing":
        return Packing(
            send(self.position_ids, device), send(self.bounds, device), send(self.places, device), self.lengths
        )


def pack_rows(rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor, Packing]:
    """input_ids [1, N], the trained tokens [S], and where all of them are. No rows: two tokens that have no loss."""
    rows = rows or [([0, 0], 2)]
    lengths = tuple(len(ids) for ids, _ in rows)
    ids: list[int] = []
    positions: list[int] = []
    bounds, places, targets = [0], [], []
    for row, start in rows:
        # A row's first token follows none.
        trained = range(max(1, start), len(row))
        places += [len(ids) + at - 1 for at in trained]
        targets += [row[at] for at in trained]
        ids += row
        positions += range(len(row))
        bounds.append(len(ids))
    packing = Packing(
        torch.tensor([positions]),
        torch.tensor(bounds, dtype=torch.int32),
        torch.tensor(places, dtype=torch.long),
        lengths,
    )
    return torch.tensor([ids]), torch.tensor(targets, dtype=torch.long), packing


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """To a CUDA device without waiting for it, from memory that it can read by itself."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def cut_by_tokens(rows: Sequence[int], lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """`rows` in their order, in runs of at most `tokens` tokens; a longer row stands alone."""
    runs: list[list[int]] = []
    width = 0
    for row in rows:
        if runs and width + lengths[row] <= tokens:
            runs[-1].append(row)
        else:
            runs.append([row])
            width = 0
        width += lengths[row]
    return runs
