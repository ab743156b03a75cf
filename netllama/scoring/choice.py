"""Closed questions by log-likelihood: the option that the model finds likeliest is its answer.

`accuracy` takes the sum over the option's tokens, `accuracy_norm` divides it by the option's length in
characters, as lm-evaluation-harness does for acc and acc_norm. Ties go to the first option.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netllama.core.errors import StageError
from netllama.core.records import Question
from netllama.rendering.renderer import Renderer, RenderingError, choices, question_request
from netllama.scoring.likelihood import log_likelihoods

if TYPE_CHECKING:
    from netllama.models.loading import Model


def closed(questions: Sequence[Question]) -> list[Question]:
    return [question for question in questions if question.kind in ("choice", "true_false")]


def score_choices(
    model: "Model", questions: Sequence[Question], renderer: Renderer, batch_size: int
) -> list[dict[str, Any]]:
    """One row a question: log-likelihoods [options], the picks of both rules, the right position."""
    rows, owners = [], []
    for position, question in enumerate(questions):
        for option in choices(question)[0]:
            try:
                rendered = renderer.render(question_request(question), option)
            except RenderingError as error:
                raise StageError(f"question {question.id}, option {option!r}: {error}") from None
            # Without the end-of-sequence token: an option is scored as text, like every harness does.
            rows.append((rendered.input_ids[:-1], rendered.answer_start))
            owners.append(position)
    scores = log_likelihoods(model, rows, batch_size, desc="choice")
    results = []
    for position, question in enumerate(questions):
        options, right = choices(question)
        own = [score for score, owner in zip(scores, owners, strict=True) if owner == position]
        normed = [score / len(option) for score, option in zip(own, options, strict=True)]
        results.append(
            {
                "id": question.id,
                "family": question.family,
                "kind": question.kind,
                "log_likelihoods": [round(score, 4) for score in own],
                "pick": own.index(max(own)),
                "pick_norm": normed.index(max(normed)),
                "right": right,
            }
        )
    return results


def choice_metrics(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Accuracies by kind, with the number of questions and what guessing gets."""
    from sklearn.metrics import accuracy_score

    metrics: dict[str, Any] = {}
    for kind in sorted({row["kind"] for row in results}):
        own = [row for row in results if row["kind"] == kind]
        right = [row["right"] for row in own]
        metrics[kind] = {
            "accuracy": round(float(accuracy_score(right, [row["pick"] for row in own])), 4),
            "accuracy_norm": round(float(accuracy_score(right, [row["pick_norm"] for row in own])), 4),
            "chance": round(sum(1 / len(row["log_likelihoods"]) for row in own) / len(own), 4),
            "questions": len(own),
        }
    return metrics
