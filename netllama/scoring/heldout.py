"""Loss and perplexity of the test split's answers, overall, by family and by source."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netllama.scoring.likelihood import log_likelihoods

if TYPE_CHECKING:
    from netllama.models.loading import Model


def heldout(model: "Model", rows: Sequence[dict[str, Any]], batch_size: int) -> dict[str, Any]:
    """Token-weighted mean loss (nats a token) of the answers, end-of-sequence included, and exp of it.

    `rows` are tokenized rows (stages/tokenize.py); the prompt is never scored, however it was trained.
    """
    inputs = [(row["input_ids"], row["answer_start"]) for row in rows]
    scores = log_likelihoods(model, inputs, batch_size, desc="held-out loss")
    loss = _mean(rows, scores)
    return {
        "loss": loss,
        "perplexity": round(math.exp(loss), 4),
        "rows": len(rows),
        "tokens": sum(_answer_tokens(row) for row in rows),
        "family": _grouped(rows, scores, "family"),
        "source": _grouped(rows, scores, "source"),
    }


def _answer_tokens(row: dict[str, Any]) -> int:
    return int(row["length"] - row["answer_start"])


def _mean(rows: Sequence[dict[str, Any]], scores: Sequence[float]) -> float:
    return round(-sum(scores) / sum(_answer_tokens(row) for row in rows), 4)


def _grouped(rows: Sequence[dict[str, Any]], scores: Sequence[float], column: str) -> dict[str, dict[str, float]]:
    groups: dict[str, tuple[list[dict[str, Any]], list[float]]] = {}
    for row, score in zip(rows, scores, strict=True):
        members, values = groups.setdefault(row[column], ([], []))
        members.append(row)
        values.append(score)
    return {name: {"loss": _mean(*group)} for name, group in sorted(groups.items())}
