"""What a model is measured on, read and checked before one is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from netllama.core.errors import StageError
from netllama.core.records import Question, load_questions
from netllama.core.sections import EvaluateParams, PromptParams
from netllama.core.tokenized_rows import TokenizedRow, read_template_hash, read_tokenized_rows
from netllama.rendering.renderer import Renderer, load_renderer, require_same_template
from netllama.sandbox.exchange import Limits
from netllama.sandbox.sandbox import Sandbox
from netllama.sandbox.sandbox_choice import find_sandbox
from netllama.scoring.code_questions import select_code
from netllama.scoring.program_texts import list_programs
from netllama.scoring.reading_scores import ReadingMaterial, load_reading
from testbed.tasks.task_records import ProgramTask

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


def limit_scripts(params: EvaluateParams) -> Limits:
    """Of the script in an answer, on each network."""
    return Limits(cpu_seconds=params.code_seconds, wall_seconds=WALL * params.code_seconds)
