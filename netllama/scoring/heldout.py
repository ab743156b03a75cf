"""Loss and perplexity of the test split's answers, overall, by family and by source."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from netllama.core.tokenized_rows import TokenizedRow
from netllama.scoring.likelihood import score_continuations
from netllama.scoring.score import Numbers, Score
from netllama.scoring.shared_prefixes import Continued
from netllama.statistics.intervals import estimate_mean

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel


def score_heldout(model: "LanguageModel", rows: Sequence[TokenizedRow]) -> list[Score]:
    """The loss of each row's answer, in nats a token, in the order of the rows.

    The end-of-sequence token is part of the answer. The prompt is never scored, even where `tokenize.train_on_prompt`
    has it trained on: losses of two trainings could not be compared.
    """
    found = score_continuations(model, [split_row(row) for row in rows], desc="held-out loss")
    return [
        Score(
            item=row.id,
            suite="test",
            family=row.family,
            kind="heldout",
            cluster="",
            value=round(-score / row.answer_tokens, 6),
            measures={"tokens": float(row.answer_tokens)},
            answer="",
            expected="",
            explanation="",
        )
        for row, [score] in zip(rows, found, strict=True)
    ]


def summarize_heldout(scores: Sequence[Score], rows: Sequence[TokenizedRow]) -> Numbers:
    """Token-weighted mean loss (nats a token) of the rows' answers, and exp of it."""
    loss = _average_loss(scores)
    return {
        "loss": round(loss, 4),
        "perplexity": round(math.exp(loss), 4),
        "rows": len(scores),
        "tokens": sum(row.answer_tokens for row in rows),
        "family": _average_by(scores, rows, lambda row: row.family),
        "source": _average_by(scores, rows, lambda row: row.source),
    }


def split_row(row: TokenizedRow) -> Continued:
    """A row's prompt, and its answer as what follows it."""
    return Continued(row.input_ids[: row.answer_start], [row.input_ids[row.answer_start :]])


def _average_loss(scores: Sequence[Score]) -> float:
    return sum(score.value * score.measures["tokens"] for score in scores) / sum(
        score.measures["tokens"] for score in scores
    )


def _average_by(scores: Sequence[Score], rows: Sequence[TokenizedRow], name: Callable[[TokenizedRow], str]) -> Numbers:
    groups: dict[str, list[Score]] = {}
    for score, row in zip(scores, rows, strict=True):
        groups.setdefault(name(row), []).append(score)
    return {group: _estimate_loss(own) for group, own in sorted(groups.items())}


def _estimate_loss(scores: Sequence[Score]) -> Numbers:
    """The mean, and its 95% interval where there is more than one row."""
    found = estimate_mean(
        [score.value for score in scores],
        np.arange(len(scores)),
        [score.measures["tokens"] for score in scores],
    )
    ends = {"low": round(found.low, 4), "high": round(found.high, 4)} if len(scores) > 1 else {}
    return {"loss": round(_average_loss(scores), 4), **ends}
