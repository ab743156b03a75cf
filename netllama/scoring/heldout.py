"""Loss and perplexity of the test split's answers, overall, by family and by source."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from netllama.core.tokenized_rows import TokenizedRow
from netllama.scoring.likelihood import score_continuations
from netllama.scoring.score import Numbers
from netllama.scoring.shared_prefixes import Continued

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

Scored = Sequence[tuple[TokenizedRow, float]]
"""Rows, each with the log-likelihood of its answer (nats)."""


def measure_heldout(model: "LanguageModel", rows: Sequence[TokenizedRow]) -> Numbers:
    """Token-weighted mean loss (nats a token) of the answers, end-of-sequence included, and exp of it.

    The prompt is never scored, however it was trained.
    """
    found = score_continuations(model, [split_row(row) for row in rows], desc="held-out loss")
    scored = [(row, score) for row, [score] in zip(rows, found, strict=True)]
    loss = _average_loss(scored)
    return {
        "loss": round(loss, 4),
        "perplexity": round(math.exp(loss), 4),
        "rows": len(rows),
        "tokens": sum(row.answer_tokens for row in rows),
        "family": _average_by(scored, lambda row: row.family),
        "source": _average_by(scored, lambda row: row.source),
    }


def split_row(row: TokenizedRow) -> Continued:
    """A row's prompt, and its answer as what follows it."""
    return Continued(row.input_ids[: row.answer_start], [row.input_ids[row.answer_start :]])


def _average_loss(scored: Scored) -> float:
    return -sum(score for _, score in scored) / sum(row.answer_tokens for row, _ in scored)


def _average_by(scored: Scored, name: Callable[[TokenizedRow], str]) -> Numbers:
    groups: dict[str, list[tuple[TokenizedRow, float]]] = {}
    for row, score in scored:
        groups.setdefault(name(row), []).append((row, score))
    return {group: {"loss": round(_average_loss(own), 4)} for group, own in sorted(groups.items())}
