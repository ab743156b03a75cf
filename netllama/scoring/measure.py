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
from netllama.scoring.heldout import score_heldout, summarize_heldout
from netllama.scoring.score import GENERAL, Numbers, Score
from netllama.scoring.written_questions import score_written, select_written, summarize_written

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

COUNTS = ("rows", "tokens", "questions", "chance", "ties")
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
    """The test split and the questions, read and checked before a model is loaded."""
    renderer, rows = load_renderer(tokenizer, prompt), read_tokenized_rows(tokenized)
    if rows:
        require_same_template(read_template_hash(tokenized), renderer, str(tokenized))
    return Material(params, rows, load_questions(questions), renderer)


def measure_model(model: "LanguageModel", material: Material) -> tuple[Numbers, list[Score]]:
    """(metrics, scores): numbers by kind of measurement and of `general` questions; a score for every answer."""
    params, renderer, rows = material.params, material.renderer, material.rows
    metrics: dict[str, float | Numbers] = {}
    heldout = score_heldout(model, rows) if rows else []
    if heldout:
        metrics["heldout"] = summarize_heldout(heldout, rows)
    chosen = score_choices(model, select_closed(material.questions), renderer)
    metrics |= summarize_choices([score for score in chosen if score.family != GENERAL])
    if general := [score for score in chosen if score.family == GENERAL]:
        right = sum(score.value for score in general)
        metrics[GENERAL] = {"accuracy": round(right / len(general), 4), "questions": len(general)}
    asked = select_written(material.questions, params.num_open)
    written = score_written(model, asked, renderer, params.batch_size, params.max_new_tokens)
    metrics |= summarize_written(written)
    sampled = sample_rows(rows, params.num_generated)
    generated = score_answers(model, sampled, renderer, params.batch_size, params.max_new_tokens)
    if generated:
        metrics["generation"] = summarize_answers(generated)
    return metrics, [*heldout, *chosen, *written, *generated]


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
