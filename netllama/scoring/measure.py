"""All measurements of one model, the same for the base and for the tuned one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from netllama.code_tasks.code_answers import VARIANTS
from netllama.core.errors import StageError
from netllama.core.files import ensure_scratch_folder
from netllama.core.records import Question, load_questions
from netllama.core.sections import EvaluateParams, PromptParams
from netllama.core.tokenized_rows import TokenizedRow, read_template_hash, read_tokenized_rows
from netllama.rendering.question_texts import phrase_question
from netllama.rendering.renderer import Renderer, load_renderer, require_same_template
from netllama.sandbox.exchange import Limits
from netllama.sandbox.sandbox import Sandbox
from netllama.sandbox.sandbox_choice import find_sandbox
from netllama.scoring.choice import measure_baselines, score_choices, select_closed, summarize_choices
from netllama.scoring.code_questions import has_script, judge_code_answers, select_code, summarize_code
from netllama.scoring.heldout import score_heldout, summarize_heldout
from netllama.scoring.kept_answers import NOTHING_KEPT, KeptAnswers
from netllama.scoring.score import GENERAL, Numbers, Score
from netllama.scoring.task_answers import sample_rows, score_answers, summarize_answers
from netllama.scoring.written_questions import score_written, select_written, summarize_written
from testbed.network import ensure_network

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

COUNTS = ("rows", "tokens", "questions", "chance", "majority", "longest_option", "ties")
"""Numbers that no model changes."""
WALL = 5
"""Seconds by the clock that a script has for each of the processor's: on a busy machine it must wait for its turn."""


@dataclass(frozen=True)
class Material:
    """What a model is measured on."""

    params: EvaluateParams
    rows: Sequence[TokenizedRow]
    questions: Sequence[Question]
    renderer: Renderer
    sandbox: Sandbox | None
    """What the scripts in answers run in; None: no code question is asked."""


def load_material(
    tokenized: Path, questions: Path, tokenizer: Path, prompt: PromptParams, params: EvaluateParams
) -> Material:
    """The test split and the questions, read and checked before a model is loaded."""
    renderer, rows = load_renderer(tokenizer, prompt), read_tokenized_rows(tokenized)
    if rows:
        require_same_template(read_template_hash(tokenized), renderer, str(tokenized))
    asked = load_questions(questions)
    needed = bool(select_code(asked, params.num_code))
    return Material(params, rows, asked, renderer, choose_sandbox(params.unsafe_code) if needed else None)


def choose_sandbox(unsafe: bool) -> Sandbox:
    """The strongest sandbox of this machine, which is printed; with `unsafe`, none is no error."""
    try:
        sandbox = find_sandbox(remedy="Or set evaluate.num_code to 0, or evaluate.unsafe_code to true")
    except StageError:
        if not unsafe:
            raise
        sandbox = find_sandbox(unsafe=True)
    print(f"scripts in answers: {sandbox.statement.splitlines()[0]}", flush=True)
    return sandbox


def measure_model(
    model: "LanguageModel", material: Material, kept: KeptAnswers = NOTHING_KEPT
) -> tuple[Numbers, list[Score]]:
    """(metrics, scores): numbers by kind of measurement and of `general` questions; a score for every answer.

    `kept`: what this model wrote before.
    """
    params, renderer, rows = material.params, material.renderer, material.rows
    metrics: dict[str, float | Numbers] = {}
    heldout = score_heldout(model, rows) if rows else []
    if heldout:
        metrics["heldout"] = summarize_heldout(heldout, rows)
    chosen = score_choices(model, select_closed(material.questions), renderer, params.listed_permutations)
    metrics |= summarize_choices([score for score in chosen if score.family != GENERAL])
    if general := [score for score in chosen if score.family == GENERAL]:
        right = sum(score.value for score in general)
        accuracy = {"accuracy": round(right / len(general), 4)}
        metrics[GENERAL] = {**accuracy, **measure_baselines(general), "questions": len(general)}
    asked = select_written(material.questions, params.num_open)
    written = score_written(model, asked, renderer, params.batch_size, params.max_new_tokens, kept)
    metrics |= summarize_written(written)
    sampled = sample_rows(rows, params.num_generated)
    generated = score_answers(model, sampled, renderer, params.batch_size, params.max_new_tokens, kept)
    if generated:
        metrics["generation"] = summarize_answers(generated)
    code = score_code(model, material, kept)
    if code:
        metrics["code"] = summarize_code(code)
    return metrics, [*heldout, *chosen, *written, *generated, *code]


def score_code(model: "LanguageModel", material: Material, kept: KeptAnswers) -> list[Score]:
    """A score for each code question that is asked: the script in the model's answer is run on both networks."""
    params, renderer = material.params, material.renderer
    asked = select_code(material.questions, params.num_code)
    if not material.sandbox:
        return []
    eos = int(renderer.tokenizer.eos_token_id)
    prompts = [renderer.encode_prompt(phrase_question(question)) for question in asked]
    written = kept.write(model, prompts, eos, params.batch_size, params.max_code_tokens)
    limits = Limits(cpu_seconds=params.code_seconds, wall_seconds=WALL * params.code_seconds)
    answers = [renderer.decode_answer(ids) for ids in written]
    # They take seconds to build, and a model that writes no script needs none.
    seeds = VARIANTS if any(map(has_script, answers)) else ()
    networks = [ensure_network(ensure_scratch_folder("network"), seed) for seed in seeds]
    return judge_code_answers(asked, answers, material.sandbox, networks, limits)


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
