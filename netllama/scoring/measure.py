"""All measurements of one model, the same for the base and for the tuned one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from netllama.core.records import Question, load_questions
from netllama.core.sections import EvaluateParams, PromptParams
from netllama.core.tokenized_rows import TokenizedRow, read_template_hash, read_tokenized_rows
from netllama.rendering.renderer import Renderer, load_renderer, require_same_template
from netllama.scoring.choice import score_choices, select_closed, summarize_choices
from netllama.scoring.generation import sample_rows, score_answers, summarize_answers
from netllama.scoring.heldout import measure_heldout
from netllama.scoring.score import Numbers, Score

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

COUNTS = ("rows", "tokens", "questions", "chance")
"""Numbers that no model changes."""


@dataclass(frozen=True)
class Material:
    """What a model is measured on."""

    params: EvaluateParams
    rows: Sequence[TokenizedRow]
    questions: Sequence[Question]
    renderer: Renderer


def load_material(
    tokenized: Path, questions: Path, tokenizer: Path, prompt: PromptParams, params: EvaluateParams
) -> Material:
    """The test split and the closed questions, read and checked before a model is loaded."""
    renderer, rows = load_renderer(tokenizer, prompt), read_tokenized_rows(tokenized)
    if rows:
        require_same_template(read_template_hash(tokenized), renderer, str(tokenized))
    return Material(params, rows, select_closed(load_questions(questions)), renderer)


def measure_model(model: "LanguageModel", material: Material) -> tuple[Numbers, list[Score]]:
    """(metrics, scores): numbers under `heldout`, `choice`, `true_false`, `generation`; a score for every answer."""
    params, renderer = material.params, material.renderer
    metrics: dict[str, float | Numbers] = {}
    if material.rows:
        metrics["heldout"] = measure_heldout(model, material.rows)
    chosen = score_choices(model, material.questions, renderer)
    metrics |= summarize_choices(chosen)
    asked = sample_rows(material.rows, params.num_generated)
    written = score_answers(model, asked, renderer, params.batch_size, params.max_new_tokens)
    if written:
        metrics["generation"] = summarize_answers(written)
    return metrics, [*chosen, *written]


def subtract_metrics(tuned: Numbers, base: Numbers) -> Numbers:
    """tuned - base for every number that both hold under the same key; counts and chance are left out."""
    result: dict[str, float | Numbers] = {}
    for key, value in tuned.items():
        other = base.get(key)
        if not isinstance(value, float | int):
            if other is not None and not isinstance(other, float | int) and (nested := subtract_metrics(value, other)):
                result[key] = nested
        elif key not in COUNTS and isinstance(other, float | int):
            result[key] = round(value - other, 4)
    return result
