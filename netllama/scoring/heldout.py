"""Loss and perplexity of the test split's answers, overall, by family and by source."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from netllama.core.tokenized_rows import TokenizedRow
from netllama.scoring.likelihood import compute_log_likelihoods
from netllama.scoring.score import Numbers

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

Scored = Sequence[tuple[TokenizedRow, float]]
"""Rows, each with the log-likelihood of its answer (nats)."""


def measure_heldout(model: "LanguageModel", rows: Sequence[TokenizedRow], batch_size: int) -> Numbers:
    """Token-weighted mean loss (nats a token) of the answers, end-of-sequence included, and exp of it.

    The prompt is never scored, however it was trained.
    """
    inputs = [(row.input_ids, row.answer_start) for row in rows]
    scored = list(zip(rows, compute_log_likelihoods(model, inputs, batch_size, desc="held-out loss"), strict=True))
    loss = _average_loss(scored)
    return {
        "loss": round(loss, 4),
        "perplexity": round(math.exp(loss), 4),
        "rows": len(rows),
        "tokens": sum(row.answer_tokens for row in rows),
        "family": _average_by(scored, lambda row: row.family),
        "source": _average_by(scored, lambda row: row.source),
    }


def _average_loss(scored: Scored) -> float:
    return -sum(score for _, score in scored) / sum(row.answer_tokens for row, _ in scored)


def _average_by(scored: Scored, name: Callable[[TokenizedRow], str]) -> Numbers:
    groups: dict[str, list[tuple[TokenizedRow, float]]] = {}
    for row, score in scored:
        groups.setdefault(name(row), []).append((row, score))
    return {group: {"loss": round(_average_loss(own), 4)} for group, own in sorted(groups.items())}
