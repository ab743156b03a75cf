"""Closed questions by log-likelihood: the option that the model finds likeliest is its answer.

`accuracy` takes the sum over the option's tokens, `accuracy_norm` divides it by the option's length in characters, and
`accuracy_pmi` subtracts what the option gets without its question (pointwise mutual information, arXiv 2104.08315): as
lm-evaluation-harness does for acc, acc_norm and acc_mutual_info. The model never sees the options in a list, so their
order can't sway it; but ties go to the first one, and are counted. `brier` and `confidence` are of the softmax over the
options: whether the model knows what it knows.
"""

from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

from netllama.core.errors import StageError
from netllama.core.records import Question
from netllama.rendering.question_texts import list_options, phrase_question
from netllama.rendering.renderer import Renderer, RenderingError
from netllama.scoring.likelihood import score_continuations
from netllama.scoring.score import Numbers, Score
from netllama.scoring.shared_prefixes import Continued
from netllama.statistics.calibration import compute_brier_scores, compute_calibration_error, normalise_likelihoods

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel


NO_QUESTION = "Answer:"
"""What stands in a question's place where an option is scored without it."""
TIE = 1e-6
"""Nats: options that are no further apart are equally likely."""


def select_closed(questions: Sequence[Question]) -> list[Question]:
    return [question for question in questions if question.kind in ("choice", "true_false")]


def score_choices(model: "LanguageModel", questions: Sequence[Question], renderer: Renderer) -> list[Score]:
    """A score for each closed question, in their order."""
    texts = [render_question(question, renderer) for question in questions]
    nothing = renderer.encode_prompt(NO_QUESTION)
    alone = [Continued(nothing, text.continuations) for text in texts]
    found = score_continuations(model, [*texts, *alone], desc="choice")
    asked, unasked = found[: len(texts)], found[len(texts) :]
    return [judge_choice(*each) for each in zip(questions, asked, unasked, strict=True)]


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


def judge_choice(question: Question, log_likelihoods: Sequence[float], unasked: Sequence[float]) -> Score:
    """What a model chose that gives the options of a question these log-likelihoods (nats), and without it those."""
    options, right = list_options(question)
    per_character = [score / len(option) for score, option in zip(log_likelihoods, options, strict=True)]
    gains = [score - alone for score, alone in zip(log_likelihoods, unasked, strict=True)]
    pick, pick_norm, pick_pmi = (scores.index(max(scores)) for scores in (log_likelihoods, per_character, gains))
    best = max(log_likelihoods)
    shares = normalise_likelihoods([log_likelihoods], [right])
    return Score(
        item=question.id,
        suite="questions",
        family=question.family,
        kind=question.kind,
        cluster=question.cluster,
        value=float(pick == right),
        measures={
            "accuracy_norm": float(pick_norm == right),
            "accuracy_pmi": float(pick_pmi == right),
            "brier": round(float(compute_brier_scores(shares)[0]), 4),
            "confidence": round(float(shares.probabilities.max()), 4),
            "tie": float(sum(best - score <= TIE for score in log_likelihoods) > 1),
            "chance": 1 / len(options),
        },
        answer=options[pick],
        expected=options[right],
        explanation="; ".join(f"{score:.4f} {text}" for score, text in zip(log_likelihoods, options, strict=True)),
    )


def summarize_choices(scores: Sequence[Score]) -> Numbers:
    """Accuracies by kind, with the number of questions, what guessing gets, and what always the same answer gets."""
    metrics: dict[str, Numbers] = {}
    for kind in sorted({score.kind for score in scores}):
        own = [score for score in scores if score.kind == kind]

        def average(name: str, own: Sequence[Score] = own) -> float:
            return round(mean(score.measures[name] for score in own), 4)

        confidences, hits = [score.measures["confidence"] for score in own], [score.value for score in own]
        metrics[kind] = {
            "accuracy": round(mean(hits), 4),
            "accuracy_norm": average("accuracy_norm"),
            "accuracy_pmi": average("accuracy_pmi"),
            "brier": average("brier"),
            "calibration_error": round(compute_calibration_error(confidences, hits), 4),
            "ties": int(sum(score.measures["tie"] for score in own)),
            "chance": average("chance"),
            "questions": len(own),
        }
    return metrics
