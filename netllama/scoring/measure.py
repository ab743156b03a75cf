"""All measurements of one model, the same for the base and for the tuned one."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from netllama.core.errors import StageError
from netllama.core.records import Question, load_questions
from netllama.core.sections import EvaluateParams, PromptParams
from netllama.core.tokenized_rows import TokenizedRow, read_template_hash, read_tokenized_rows
from netllama.rendering.question_texts import phrase_question
from netllama.rendering.renderer import Renderer, load_renderer, require_same_template
from netllama.sandbox.exchange import Limits
from netllama.sandbox.sandbox import Sandbox
from netllama.sandbox.sandbox_choice import find_sandbox
from netllama.scoring.choice import measure_baselines, score_choices, select_closed, summarize_choices
from netllama.scoring.code_questions import (
    draw_samples,
    find_networks,
    gather_samples,
    judge_code_answers,
    select_code,
    summarize_code,
)
from netllama.scoring.heldout import score_heldout, summarize_heldout
from netllama.scoring.kept_answers import NOTHING_KEPT, KeptAnswers, LimitedPrompt
from netllama.scoring.program_scores import ask_programs, judge_programs, summarize_programs
from netllama.scoring.program_texts import list_programs
from netllama.scoring.question_sizes import require_short_questions
from netllama.scoring.reading_scores import ReadingMaterial, ask_reports, load_reading, require_room, score_reading
from netllama.scoring.reading_summary import summarize_reading
from netllama.scoring.refusal_balance import RefusalBalance
from netllama.scoring.score import GENERAL, Numbers, Score
from netllama.scoring.task_answers import ask_rows, sample_rows, score_answers, summarize_answers
from netllama.scoring.written_questions import ask_written, score_written, select_written, summarize_written
from testbed.tasks.task_records import ProgramTask

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

COUNTS = (
    *("rows", "tokens", "questions", "ties", "low", "high"),
    *("chance", "majority", "longest_option", "ranked_first_chance"),
)
"""Numbers that no model changes, and ends of intervals: a difference has an interval of its own."""
WALL = 5
"""Seconds by the clock that a script has for each of the processor's: on a busy machine it must wait for its turn."""


@dataclass(frozen=True)
class Material:
    """What a model is measured on."""

    params: EvaluateParams
    rows: Sequence[TokenizedRow]
    questions: Sequence[Question]
    reading: ReadingMaterial
    programs: Sequence[ProgramTask]
    renderer: Renderer
    sandbox: Sandbox | None
    """What the scripts in answers run in; None: none is asked for."""


class MaterialFiles(NamedTuple):
    """Where the material lies."""

    tokenized: Path
    """The test split."""
    questions: Path
    """The folder."""
    asked: Path
    """Questions with documents."""
    chunks: Path
    """The documents."""
    tokenizer: Path


def load_material(files: MaterialFiles, prompt: PromptParams, params: EvaluateParams) -> Material:
    """The test split and the questions, read and checked before a model is loaded."""
    renderer, rows = load_renderer(files.tokenizer, prompt), read_tokenized_rows(files.tokenized)
    if rows:
        require_same_template(read_template_hash(files.tokenized), renderer, str(files.tokenized))
    asked = load_questions(files.questions)
    needed = bool(select_code(asked, params.num_code) or params.num_programs)
    reading = load_reading(files.asked, files.chunks, asked, params.num_reports, params.num_with_documents)
    sandbox = choose_sandbox(params.unsafe_code) if needed else None
    return Material(params, rows, asked, reading, list_programs(params.num_programs), renderer, sandbox)


def choose_sandbox(unsafe: bool) -> Sandbox:
    """The strongest sandbox of this machine, which is printed; with `unsafe`, none is no error."""
    try:
        sandbox = find_sandbox(
            remedy="Or set evaluate.num_code and evaluate.num_programs to 0, or evaluate.unsafe_code to true"
        )
    except StageError:
        if not unsafe:
            raise
        sandbox = find_sandbox(unsafe=True)
    print(f"scripts in answers: {sandbox.statement.splitlines()[0]}", flush=True)
    return sandbox


def measure_model(
    model: "LanguageModel",
    material: Material,
    kept: KeptAnswers = NOTHING_KEPT,
    refusals: RefusalBalance | None = None,
) -> tuple[Numbers, list[Score]]:
    """(metrics, scores): numbers by kind of measurement and of `general` questions; a score for every answer.

    `kept`: what this model wrote before. `refusals`: how readily it refuses where documents are shown.
    """
    params, renderer, rows = material.params, material.renderer, material.rows
    closed, asked = select_closed(material.questions), select_written(material.questions, params.num_open)
    coded = select_code(material.questions, params.num_code) if material.sandbox else []
    writing, coding = (
        ask_written(asked, renderer, params.max_new_tokens),
        ask_code(coded, renderer, params.max_code_tokens),
    )
    # First, so that nobody waits minutes for it.
    config: Any = model.config.get_text_config(decoder=True)
    context = getattr(config, "max_position_embeddings", None)
    require_room(material.reading, renderer, context)
    prompted = [*zip(asked, writing, strict=True), *zip(coded, coding, strict=True)]
    require_short_questions(closed, prompted, renderer, context)
    metrics: dict[str, float | Numbers] = {}
    heldout = score_heldout(model, rows) if rows else []
    if heldout:
        metrics["heldout"] = summarize_heldout(heldout, rows)
    chosen = score_choices(model, closed, renderer, params.listed_permutations)
    metrics |= summarize_choices([score for score in chosen if score.family != GENERAL])
    if general := [score for score in chosen if score.family == GENERAL]:
        right = sum(score.value for score in general)
        accuracy = {"accuracy": round(right / len(general), 4)}
        metrics[GENERAL] = {**accuracy, **measure_baselines(general), "questions": len(general)}
    sampled = sample_rows(rows, params.num_generated)
    programs = material.programs if material.sandbox else []
    # One queue for all kinds: short answers are written beside the long ones.
    prompts = (
        writing,
        ask_rows(sampled, params.max_new_tokens),
        coding,
        draw_samples(coded, coding, params.code_samples, params.code_temperature),
        ask_reports(material.reading, renderer, refusals),
        ask_programs(programs, renderer, params.max_code_tokens),
    )
    eos = int(renderer.tokenizer.eos_token_id)
    answers = iter(kept.write(model, list(chain(*prompts)), eos, params.batch_size))
    to_written, to_rows, to_code, to_samples, to_reports, to_programs = (
        list(islice(answers, len(own))) for own in prompts
    )
    written = score_written(model, asked, renderer, to_written)
    metrics |= summarize_written(written)
    generated = score_answers(sampled, renderer, to_rows)
    if generated:
        metrics["generation"] = summarize_answers(generated)
    code = score_code(coded, [renderer.decode_answer(ids) for ids in to_code], material)
    if code:
        metrics["code"] = summarize_code(code)
    repeated = [question for question in coded for _ in range(params.code_samples)]
    drawn = score_code(repeated, [renderer.decode_answer(ids) for ids in to_samples], material)
    if drawn:
        metrics["code_samples"] = summarize_code(drawn, params.code_samples)
    read = score_reading(model, material.reading, renderer, to_reports)
    if read:
        metrics["reading"] = summarize_reading(read)
    solved: list[Score] = []
    if material.sandbox and programs:
        texts = [renderer.decode_answer(ids) for ids in to_programs]
        solved = judge_programs(programs, texts, material.sandbox, limit_scripts(params))
        metrics["programs"] = summarize_programs(solved)
    return metrics, [*heldout, *chosen, *written, *generated, *code, *gather_samples(drawn), *read, *solved]


def ask_code(questions: Sequence[Question], renderer: Renderer, max_code_tokens: int) -> list[LimitedPrompt]:
    """What a model is asked by code questions."""
    return [LimitedPrompt(renderer.encode_prompt(phrase_question(question)), max_code_tokens) for question in questions]


def score_code(questions: Sequence[Question], answers: Sequence[str], material: Material) -> list[Score]:
    """A score for each code question: the script in the model's answer is run on both networks."""
    if not material.sandbox or not questions:
        return []
    networks = find_networks(answers)
    return judge_code_answers(questions, answers, material.sandbox, networks, limit_scripts(material.params))


def limit_scripts(params: EvaluateParams) -> Limits:
    """Of the script in an answer, on each network."""
    return Limits(cpu_seconds=params.code_seconds, wall_seconds=WALL * params.code_seconds)


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
