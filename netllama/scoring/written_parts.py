"""The kinds of answers that a model writes: what it is asked, and how its answers are scored and summed up.

All greedy answers of an evaluation are one queue, in which short ones are written beside the long ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netllama.core.records import Question
from netllama.rendering.question_texts import phrase_question
from netllama.rendering.renderer import Renderer
from netllama.scoring.code_questions import (
    find_networks,
    judge_code_answers,
    select_code,
    summarize_code,
)
from netllama.scoring.code_samples import draw_samples, gather_samples
from netllama.scoring.kept_answers import LimitedPrompt
from netllama.scoring.material import Material, limit_scripts
from netllama.scoring.program_scores import ask_programs, judge_programs, summarize_programs
from netllama.scoring.reading_scores import ask_reports, score_reading
from netllama.scoring.reading_summary import summarize_reading
from netllama.scoring.refusal_balance import RefusalBalance
from netllama.scoring.score import Numbers, Score
from netllama.scoring.task_answers import ask_rows, sample_rows, score_answers, summarize_answers
from netllama.scoring.written_questions import ask_written, score_written, select_written, summarize_written

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

Answers = Sequence[list[int]]
"""Token ids that a model wrote."""


@dataclass(frozen=True)
class WrittenPart:
    """One kind of answers."""

    prompts: Sequence[LimitedPrompt]
    score: Callable[[Answers], list[Score]]
    """Of the answers to `prompts`, in their order."""
    summarize: Callable[[Sequence[Score]], Numbers]
    """Of one score or more: numbers by kind of measurement."""
    gather: Callable[[Sequence[Score]], list[Score]] = list
    """The scores that are kept."""
    is_drawn: bool = False
    """Its tokens are drawn, not the likeliest ones."""


def plan_questions(model: "LanguageModel", material: Material) -> WrittenPart:
    """Blanks and open questions."""
    renderer, params = material.renderer, material.params
    asked = select_written(material.questions, params.num_open)

    def score(answers: Answers) -> list[Score]:
        return score_written(model, asked, renderer, answers)

    return WrittenPart(ask_written(asked, renderer, params.max_new_tokens), score, summarize_written)


def plan_rows(material: Material) -> WrittenPart:
    """Rows of the test split, answered in full."""
    rows = sample_rows(material.rows, material.params.num_generated)

    def score(answers: Answers) -> list[Score]:
        return score_answers(rows, material.renderer, answers)

    prompts = ask_rows(rows, material.params.max_new_tokens)
    return WrittenPart(prompts, score, lambda scores: {"generation": summarize_answers(scores)})


def plan_code(material: Material) -> WrittenPart:
    """Code questions, greedily; none where no sandbox is."""
    coded = list_coded(material)
    prompts = ask_code(coded, material.renderer, material.params.max_code_tokens)

    def score(answers: Answers) -> list[Score]:
        return score_code(coded, answers, material)

    return WrittenPart(prompts, score, lambda scores: {"code": summarize_code(scores)})


def plan_samples(material: Material) -> WrittenPart:
    """The same questions with tokens that are drawn, several times; one score a question is kept."""
    coded, number = list_coded(material), material.params.code_samples
    prompts = ask_code(coded, material.renderer, material.params.max_code_tokens)
    repeated = [question for question in coded for _ in range(number)]

    def score(answers: Answers) -> list[Score]:
        return score_code(repeated, answers, material)

    return WrittenPart(
        draw_samples(coded, prompts, number, material.params.code_temperature),
        score,
        lambda scores: {"code_samples": summarize_code(scores, number)},
        gather_samples,
        is_drawn=True,
    )


def plan_reading(model: "LanguageModel", material: Material, refusals: RefusalBalance | None) -> WrittenPart:
    """Questions with documents; four-choice ones among them are scored, and write nothing."""
    reading, renderer = material.reading, material.renderer

    def score(answers: Answers) -> list[Score]:
        return score_reading(model, reading, renderer, answers)

    return WrittenPart(
        ask_reports(reading, renderer, refusals), score, lambda scores: {"reading": summarize_reading(scores)}
    )


def plan_programs(material: Material) -> WrittenPart:
    """Tasks that a program drew; none where no sandbox is."""
    sandbox, renderer, params = material.sandbox, material.renderer, material.params
    programs = material.programs if sandbox else []

    def score(answers: Answers) -> list[Score]:
        texts = [renderer.decode_answer(ids) for ids in answers]
        return judge_programs(programs, texts, sandbox, limit_scripts(params)) if sandbox and programs else []

    prompts = ask_programs(programs, renderer, params.max_code_tokens)
    return WrittenPart(prompts, score, lambda scores: {"programs": summarize_programs(scores)})


def list_coded(material: Material) -> list[Question]:
    """The code questions that are asked."""
    return select_code(material.questions, material.params.num_code) if material.sandbox else []


def ask_code(questions: Sequence[Question], renderer: Renderer, max_code_tokens: int) -> list[LimitedPrompt]:
    """What a model is asked by code questions."""
    return [LimitedPrompt(renderer.encode_prompt(phrase_question(question)), max_code_tokens) for question in questions]


def score_code(questions: Sequence[Question], answers: Answers, material: Material) -> list[Score]:
    """A score for each code question: the script in the model's answer is run on both networks."""
    if not material.sandbox or not questions:
        return []
    texts = [material.renderer.decode_answer(ids) for ids in answers]
    return judge_code_answers(questions, texts, material.sandbox, find_networks(texts), limit_scripts(material.params))
