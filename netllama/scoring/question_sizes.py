"""Whether the questions fit into what a model reads at a time."""

from collections.abc import Iterator, Sequence

from netllama.core.errors import StageError
from netllama.core.records import Question
from netllama.rendering.renderer import Renderer
from netllama.scoring.choice import render_question
from netllama.scoring.kept_answers import LimitedPrompt

SHOWN = 5
"""Questions that an error names."""


def require_short_questions(
    closed: Sequence[Question],
    written: Sequence[tuple[Question, LimitedPrompt]],
    renderer: Renderer,
    context: int | None,
) -> None:
    """StageError for questions that take more than the `context` of a model with their answers, named with their sizes.

    `written`: questions that the model writes answers to, with what it is asked. `context`: the positions that the
    model was made for, None where it does not say. Beyond them a model with rotary embeddings raises no error: it reads
    worse, and nobody knows.
    """
    if context is None:
        return
    too_long = sorted(
        ((tokens, name) for tokens, name in _measure(closed, written, renderer) if tokens > context), reverse=True
    )
    if too_long:
        named = ", ".join(f"{name} ({tokens:,})" for tokens, name in too_long[:SHOWN])
        more = f" and {len(too_long) - SHOWN} more" if len(too_long) > SHOWN else ""
        raise StageError(
            f"the model reads {context:,} tokens (model.id), and with their answers these questions take more: "
            f"{named}{more}; shorten or remove them, or lower evaluate.max_new_tokens and evaluate.max_code_tokens"
        )


def _measure(
    closed: Sequence[Question], written: Sequence[tuple[Question, LimitedPrompt]], renderer: Renderer
) -> Iterator[tuple[int, str]]:
    for question in closed:
        text = render_question(question, renderer)
        yield len(text.context) + max(map(len, text.continuations)), question.id
    for question, asked in written:
        yield len(asked.ids) + asked.limit, question.id
