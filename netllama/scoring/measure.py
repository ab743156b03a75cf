"""All measurements of one model, the same for the base and for the tuned one."""

from itertools import islice
from typing import TYPE_CHECKING, Any

from netllama.scoring.choice import measure_baselines, score_choices, select_closed, summarize_choices
from netllama.scoring.heldout import score_heldout, summarize_heldout
from netllama.scoring.kept_answers import NOTHING_KEPT, KeptAnswers
from netllama.scoring.material import Material
from netllama.scoring.question_sizes import require_short_questions
from netllama.scoring.reading_scores import require_room
from netllama.scoring.refusal_balance import RefusalBalance
from netllama.scoring.score import GENERAL, Numbers, Score
from netllama.scoring.written_parts import (
    ask_code,
    list_coded,
    plan_code,
    plan_programs,
    plan_questions,
    plan_reading,
    plan_rows,
    plan_samples,
)
from netllama.scoring.written_questions import ask_written, select_written

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

COUNTS = (
    *("rows", "tokens", "questions", "ties", "low", "high"),
    *("chance", "majority", "longest_option", "ranked_first_chance"),
)
"""Numbers that no model changes, and ends of intervals: a difference has an interval of its own."""


def measure_model(
    model: "LanguageModel",
    material: Material,
    kept: KeptAnswers = NOTHING_KEPT,
    refusals: RefusalBalance | None = None,
) -> tuple[Numbers, list[Score]]:
    """(metrics, scores): numbers by kind of measurement and of `general` questions; a score for every answer.

    `kept`: what this model wrote before. `refusals`: how readily it refuses where documents are shown.
    """
    parts = [
        plan_questions(model, material),
        plan_rows(material),
        plan_code(material),
        plan_samples(material),
        plan_reading(model, material, refusals),
        plan_programs(material),
    ]
    # First, so that nobody waits minutes for it.
    require_context(model, material)
    heldout, losses = score_rows(model, material)
    closed, accuracies = score_closed(model, material)
    metrics: dict[str, float | Numbers] = {**losses, **accuracies}
    eos = int(material.renderer.tokenizer.eos_token_id)
    queues = {}
    # One queue for all greedy answers: short ones are written beside the long ones. Drawn ones come by themselves: in
    # half precision who stands beside an answer may decide a near-tie, and samples are to change no greedy answer.
    for is_drawn in (False, True):
        prompts = [prompt for part in parts if part.is_drawn == is_drawn for prompt in part.prompts]
        queues[is_drawn] = iter(kept.write(model, prompts, eos, material.params.batch_size))
    written: list[Score] = []
    for part in parts:
        own = part.score(list(islice(queues[part.is_drawn], len(part.prompts))))
        metrics |= part.summarize(own) if own else {}
        written += part.gather(own)
    return metrics, [*heldout, *closed, *written]


def require_context(model: "LanguageModel", material: Material) -> None:
    """StageError for questions that take more tokens than the model was made for."""
    config: Any = model.config.get_text_config(decoder=True)
    context, renderer, params = getattr(config, "max_position_embeddings", None), material.renderer, material.params
    require_room(material.reading, renderer, context)
    asked, coded = select_written(material.questions, params.num_open), list_coded(material)
    prompted = [
        *zip(asked, ask_written(asked, renderer, params.max_new_tokens), strict=True),
        *zip(coded, ask_code(coded, renderer, params.max_code_tokens), strict=True),
    ]
    require_short_questions(select_closed(material.questions), prompted, renderer, context)


def score_rows(model: "LanguageModel", material: Material) -> tuple[list[Score], Numbers]:
    """The losses of the test split."""
    scores = score_heldout(model, material.rows) if material.rows else []
    return scores, {"heldout": summarize_heldout(scores, material.rows)} if scores else {}


def score_closed(model: "LanguageModel", material: Material) -> tuple[list[Score], Numbers]:
    """Closed questions without documents; general ones are counted by themselves."""
    closed, renderer = select_closed(material.questions), material.renderer
    scores = score_choices(model, closed, renderer, material.params.listed_permutations)
    metrics = dict(summarize_choices([score for score in scores if score.family != GENERAL]))
    if general := [score for score in scores if score.family == GENERAL]:
        right = sum(score.value for score in general)
        accuracy = {"accuracy": round(right / len(general), 4)}
        metrics[GENERAL] = {**accuracy, **measure_baselines(general), "questions": len(general)}
    return scores, metrics


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
