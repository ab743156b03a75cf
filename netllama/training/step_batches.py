"""Batches of rows as what goes through the model: whose turn they are, in which pieces, as tensors on the device."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from netllama.core.length_batches import collate_rows
from netllama.core.tokenized_rows import TokenizedRow
from netllama.training.batch_plan import PIECE, Batch, cut_batch
from netllama.training.packed_rows import Packing, cut_by_tokens, pack_rows, send

Inputs = tuple[torch.Tensor, torch.Tensor, Packing | None]
"""input_ids, labels and packing of `AnswerLoss`."""


class PreparedStep(NamedTuple):
    """The rows of a step, and what this process runs of them."""

    batches: list[Batch]
    rows: list[int]
    tokens: int
    """Trained, on all processes."""
    inputs: list[Inputs]


class StepBatches:
    """Cuts batches for process `process` of `processes`, and makes their tensors on `device`.

    On a CPU padded batches go through in pieces of at most `piece` tokens. With `packed_tokens` all rows of a process
    are laid end to end, in pieces of at most so many tokens, whatever batches they stood in: the loss of a step is a
    sum over its tokens.
    """

    def __init__(
        self, device: torch.device, process: int, processes: int, packed_tokens: int, piece: int = PIECE
    ) -> None:
        self.device, self.process, self.processes, self.packed_tokens = device, process, processes, packed_tokens
        self.piece = piece

    def share(self, batches: Sequence[Batch], lengths: Sequence[int]) -> list[Batch]:
        """What this process runs of `batches`; as many as every other one, where a process runs out of them empty ones.

        FSDP needs each process in each pass.
        """
        if not self.packed_tokens:
            # Process p takes those at p, p + processes, ...
            turns = range(self.process, -(-len(batches) // self.processes) * self.processes, self.processes)
            return self._cut([batches[at] if at < len(batches) else [] for at in turns], lengths)
        shares = [self._pack(batches, lengths, process) for process in range(self.processes)]
        own = shares[self.process]
        return own + [[]] * (max(map(len, shares)) - len(own))

    def list_passes(self, batches: Sequence[Batch], lengths: Sequence[int]) -> list[Batch]:
        """What goes through all processes together, each padded to its longest row."""
        if self.packed_tokens:
            return [[row] for batch in batches for row in batch]
        return self._cut(batches, lengths)

    def collate(self, rows: Sequence[TokenizedRow]) -> Inputs:
        """On the device; a GPU goes on with what it does meanwhile."""
        given = [(row.input_ids, row.loss_start) for row in rows]
        if not self.packed_tokens:
            input_ids, labels = collate_rows(given)
            return send(input_ids, self.device), send(labels, self.device), None
        input_ids, targets, packing = pack_rows(given)
        return send(input_ids, self.device), send(targets, self.device), packing.to(self.device)

    def _cut(self, batches: Sequence[Batch], lengths: Sequence[int]) -> list[Batch]:
        """On a CPU, in pieces; an empty batch stays one."""
        if self.device.type != "cpu":
            return list(batches)
        return [piece for batch in batches for piece in (cut_batch(batch, lengths, self.piece) or [[]])]

    def _pack(self, batches: Sequence[Batch], lengths: Sequence[int], process: int) -> list[Batch]:
        rows = [row for batch in batches[process :: self.processes] for row in batch]
        return cut_by_tokens(rows, lengths, self.packed_tokens)
