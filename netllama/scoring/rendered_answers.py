"""A prompt and the answers between which a model's likelihoods decide, as token ids."""

from collections.abc import Sequence

from netllama.core.errors import StageError
from netllama.rendering.renderer import Renderer, RenderingError
from netllama.scoring.shared_prefixes import Continued


def render_answers(question_id: str, prompt: str, answers: Sequence[str], renderer: Renderer) -> Continued:
    """The prompt, and each answer as what may follow it; StageError names the question and the answer."""
    continuations = []
    for answer in answers:
        try:
            rendered = renderer.render(prompt, answer)
        except RenderingError as error:
            raise StageError(f"question {question_id}, option {answer!r}: {error}") from None
        # Without the end-of-sequence token: an answer is scored as text, like every harness does.
        continuations.append(rendered.input_ids[rendered.answer_start : -1])
    return Continued(rendered.input_ids[: rendered.answer_start], continuations)
