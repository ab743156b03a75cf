"""All measurements of one model, the same for the base and for the tuned one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netllama.core.records import Instruction, Question, load_instructions, load_questions
from netllama.core.sections import EvaluateParams, PromptParams
from netllama.core.tokenized_rows import read_parquet
from netllama.rendering.renderer import Renderer, load_renderer
from netllama.scoring.choice import choice_metrics, closed, score_choices
from netllama.scoring.generation import generate_answers, generation_metrics, sample
from netllama.scoring.heldout import heldout

if TYPE_CHECKING:
    from netllama.models.loading import Model


class Material:
    """What a model is measured on, read and checked before the model is loaded."""

    def __init__(
        self,
        tokenized: Path,
        test: Path,
        questions: Path,
        tokenizer: Path,
        prompt: PromptParams,
        params: EvaluateParams,
    ) -> None:
        self.params = params
        self.tokenized: list[dict[str, Any]] = read_parquet(tokenized).to_pylist()
        self.instructions: Sequence[Instruction] = sample(load_instructions(test), self.params.num_generated)
        self.questions: Sequence[Question] = closed(load_questions(questions))
        self.renderer: Renderer = load_renderer(tokenizer, prompt)


def measure(model: "Model", material: Material) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(metrics, answers): nested numbers under `heldout`, `choice`, `true_false`, `generation`, and every answer."""
    params, renderer = material.params, material.renderer
    metrics: dict[str, Any] = {}
    if material.tokenized:
        metrics["heldout"] = heldout(model, material.tokenized, params.batch_size)
    chosen = score_choices(model, material.questions, renderer, params.batch_size)
    metrics |= choice_metrics(chosen)
    written = generate_answers(model, material.instructions, renderer, params.batch_size, params.max_new_tokens)
    if written:
        metrics["generation"] = generation_metrics(written)
    answers = [{"suite": "choice", **row} for row in chosen] + [{"suite": "generation", **row} for row in written]
    return metrics, answers


def difference(tuned: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """tuned - base for every number that both hold under the same key; counts and chance are left out."""
    result: dict[str, Any] = {}
    for key, value in tuned.items():
        other = base.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            nested = difference(value, other)
            if nested:
                result[key] = nested
        elif key not in ("rows", "tokens", "questions", "chance") and other is not None:
            result[key] = round(value - other, 4)
    return result
