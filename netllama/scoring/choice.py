"""Closed questions by log-likelihood: the option that the model finds likeliest is its answer.

`accuracy` takes the sum over the option's tokens, `accuracy_norm` divides it by the option's length in
characters, as lm-evaluation-harness does for acc and acc_norm. Ties go to the first option.
"""

from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

from netllama.core.errors import StageError
from netllama.core.records import Question
from netllama.rendering.closed_questions import list_options, phrase_question
from netllama.rendering.renderer import Renderer, RenderingError
from netllama.scoring.likelihood import score_continuations
from netllama.scoring.score import Numbers, Score
from netllama.scoring.shared_prefixes import Continued

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel


def select_closed(questions: Sequence[Question]) -> list[Question]:
    return [question for question in questions if question.kind in ("choice", "true_false")]


def score_choices(model: "LanguageModel", questions: Sequence[Question], renderer: Renderer) -> list[Score]:
    """A score for each closed question, in their order."""
    texts = [render_question(question, renderer) for question in questions]
    found = score_continuations(model, texts, desc="choice")
    return [judge_choice(question, scores) for question, scores in zip(questions, found, strict=True)]


def render_question(question: Question, renderer: Renderer) -> Continued:
    """The question, and each option as what may follow it."""
    options = []
    for option in list_options(question)[0]:
        try:
            rendered = renderer.render(phrase_question(question), option)
        except RenderingError as error:
            raise StageError(f"question {question.id}, option {option!r}: {error}") from None
        # Without the end-of-sequence token: an option is scored as text, like every harness does.
        options.append(rendered.input_ids[rendered.answer_start : -1])
    return Continued(rendered.input_ids[: rendered.answer_start], options)


def judge_choice(question: Question, log_likelihoods: Sequence[float]) -> Score:
    """What a model chose that gives the options of a question these log-likelihoods (nats)."""
    options, right = list_options(question)
    per_character = [score / len(option) for score, option in zip(log_likelihoods, options, strict=True)]
    pick, pick_norm = (scores.index(max(scores)) for scores in (log_likelihoods, per_character))
    return Score(
        item=question.id,
        suite="questions",
        family=question.family,
        kind=question.kind,
        cluster=question.cluster,
        value=float(pick == right),
        measures={"accuracy_norm": float(pick_norm == right), "chance": 1 / len(options)},
        answer=options[pick],
        expected=options[right],
        explanation="; ".join(f"{score:.4f} {text}" for score, text in zip(log_likelihoods, options, strict=True)),
    )


def summarize_choices(scores: Sequence[Score]) -> Numbers:
    """Accuracies by kind, with the number of questions and what guessing gets."""
    metrics: dict[str, Numbers] = {}
    for kind in sorted({score.kind for score in scores}):
        own = [score for score in scores if score.kind == kind]
        metrics[kind] = {
            "accuracy": round(mean(score.value for score in own), 4),
            "accuracy_norm": round(mean(score.measures["accuracy_norm"] for score in own), 4),
            "chance": round(mean(score.measures["chance"] for score in own), 4),
            "questions": len(own),
        }
    return metrics
