"""Two models on the same probes: how far their logits are apart, and what each loses on the answers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netllama.core.tokenized_rows import TokenizedRow
from netllama.scoring.shared_prefixes import batch_by_tokens

if TYPE_CHECKING:
    import torch

Logits = Callable[[Sequence[Sequence[int]]], "Iterator[torch.Tensor]"]
LARGEST_BATCH = 8192
"""Tokens that go through a model together, padding included: 1.4 GB in the widest layer of a 13B model."""


@dataclass(frozen=True)
class ProbeComparison:
    """`other` against `reference`, over all positions of all probes."""

    probes: int
    tokens: int
    largest_difference: float
    """Of any two logits, absolute."""
    mean_difference: float
    same_choice: float
    """Share of positions at which both find the same token most likely."""
    reference_loss: float
    """Nats a token of the answers, the end-of-sequence token included."""
    other_loss: float


def compare_on_probes(reference: Logits, other: Logits, probes: Sequence[TokenizedRow]) -> ProbeComparison:
    """Run both models over the probes' ids, a batch at a time."""
    largest = total = 0.0
    positions = same = answered = 0
    losses = [0.0, 0.0]
    for batch in batch_by_tokens([row.length for row in probes], LARGEST_BATCH):
        rows = [probes[place] for place in batch]
        ids = [row.input_ids for row in rows]
        for row, a, b in zip(rows, reference(ids), other(ids), strict=True):
            difference = (a - b).abs()
            # NaN is no difference that a tolerance allows.
            largest = max(largest, float(difference.nan_to_num(nan=float("inf")).max()))
            total += float(difference.mean()) * row.length
            positions += row.length
            same += int((a.argmax(-1) == b.argmax(-1)).sum())
            answered += row.answer_tokens
            for place, logits in enumerate((a, b)):
                losses[place] += _sum_losses(logits, row)
    return ProbeComparison(
        probes=len(probes),
        tokens=positions,
        largest_difference=largest,
        mean_difference=total / positions,
        same_choice=same / positions,
        reference_loss=losses[0] / answered,
        other_loss=losses[1] / answered,
    )


def _sum_losses(logits: "torch.Tensor", row: TokenizedRow) -> float:
    import torch

    answer = torch.tensor(row.input_ids[row.answer_start :], device=logits.device)
    predicted = logits[row.answer_start - 1 : -1]
    return float(torch.nn.functional.cross_entropy(predicted, answer, reduction="sum"))
