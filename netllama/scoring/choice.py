"""Closed questions by log-likelihood: the option that the model finds likeliest is its answer.

`accuracy` takes the sum over the option's tokens, `accuracy_norm` divides it by the option's length in characters, and
`accuracy_pmi` subtracts what the option gets without its question (pointwise mutual information, arXiv 2104.08315): as
lm-evaluation-harness does for acc, acc_norm and acc_mutual_info. The model does not see the options in a list, so their
order can't sway it; but ties go to the first one, and are counted. `brier` and `confidence` are of the softmax over the
options: whether the model knows what it knows. Statements are asked about in another way besides
(balanced_statements.py), and so are choices where that is wanted (listed_options.py).
"""

from collections import Counter
from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

from netllama.core.records import Question
from netllama.rendering.question_texts import list_options, phrase_question
from netllama.rendering.renderer import Renderer
from netllama.scoring.balanced_statements import score_balanced
from netllama.scoring.likelihood import score_continuations
from netllama.scoring.listed_options import score_listed
from netllama.scoring.rendered_answers import render_answers
from netllama.scoring.score import Numbers, Score
from netllama.scoring.shared_prefixes import Continued
from netllama.statistics.calibration import (
    compute_brier_scores,
    compute_calibration_error,
    measure_guessing,
    normalise_likelihoods,
)

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel


NO_QUESTION = "Answer:"
"""What stands in a question's place where an option is scored without it."""
MEASURED_SOMETIMES = ("accuracy_balanced", "accuracy_listed", "follows_position")
"""Of statements; of choices whose options were listed, too; of these in two orders at least."""
TIE = 1e-6
"""Nats: options that are no further apart are equally likely."""


def select_closed(questions: Sequence[Question]) -> list[Question]:
    return [question for question in questions if question.kind in ("choice", "true_false")]


def score_choices(
    model: "LanguageModel", questions: Sequence[Question], renderer: Renderer, listed_permutations: int = 0
) -> list[Score]:
    """A score for each closed question, in their order; `listed_permutations`: orders of options in a list, 0: none."""
    texts = [render_question(question, renderer) for question in questions]
    nothing = renderer.encode_prompt(NO_QUESTION)
    alone = [Continued(nothing, text.continuations) for text in texts]
    found = score_continuations(model, [*texts, *alone], desc="choice")
    asked, unasked = found[: len(texts)], found[len(texts) :]
    scores = [judge_choice(*each) for each in zip(questions, asked, unasked, strict=True)]
    balanced = score_balanced(model, questions, asked, renderer)
    more = {name: {"accuracy_balanced": value} for name, value in balanced.items()}
    more |= score_listed(model, questions, renderer, listed_permutations)
    return [score.model_copy(update={"measures": score.measures | more.get(score.item, {})}) for score in scores]


def render_question(question: Question, renderer: Renderer) -> Continued:
    """The question, and each option as what may follow it."""
    return render_answers(question.id, phrase_question(question), list_options(question)[0], renderer)


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
            **_measure_form(options, right, question.kind == "choice"),
        },
        answer=options[pick],
        expected=options[right],
        explanation="; ".join(f"{score:.4f} {text}" for score, text in zip(log_likelihoods, options, strict=True)),
    )


def summarize_choices(scores: Sequence[Score]) -> Numbers:
    """Accuracies by kind, with the number of questions and what answers without knowledge get."""
    metrics: dict[str, Numbers] = {}
    for kind in sorted({score.kind for score in scores}):
        own = [score for score in scores if score.kind == kind]

        def average(name: str, own: Sequence[Score] = own) -> float:
            return round(mean(score.measures[name] for score in own), 4)

        statements = kind == "true_false"
        confidences, hits = [score.measures["confidence"] for score in own], [score.value for score in own]
        metrics[kind] = {
            "accuracy": round(mean(hits), 4),
            "accuracy_norm": average("accuracy_norm"),
            "accuracy_pmi": average("accuracy_pmi"),
            "brier": average("brier"),
            "calibration_error": round(compute_calibration_error(confidences, hits), 4),
            **{name: average(name) for name in MEASURED_SOMETIMES if name in own[0].measures},
            **({"says_true": round(mean(float(score.answer == "True") for score in own), 4)} if statements else {}),
            "ties": int(sum(score.measures["tie"] for score in own)),
            **measure_baselines(own),
            "questions": len(own),
        }
    return metrics


def measure_baselines(scores: Sequence[Score]) -> dict[str, float]:
    """What closed questions score that are answered without knowledge; nothing for scores of other kinds.

    `chance`: by drawing an option. `majority`: by the answer that is right most often, or of choices by always taking
    the option in one place, which tells of the data: a model does not see places unless options are listed.
    `longest_option`, of choices: by the option with most characters.
    """
    if not all("chance" in score.measures for score in scores):
        return {}
    guessing = measure_guessing([score.expected for score in scores], [score.measures["chance"] for score in scores])
    found = {"chance": round(guessing.uniform, 4)}
    if all(score.kind == "true_false" for score in scores):
        found["majority"] = round(guessing.majority, 4)
    if all("place" in score.measures for score in scores):
        places = Counter(score.measures["place"] for score in scores)
        found["majority"] = round(max(places.values()) / len(scores), 4)
    if all("longest_option" in score.measures for score in scores):
        found["longest_option"] = round(mean(score.measures["longest_option"] for score in scores), 4)
    return found


def _measure_form(options: Sequence[str], right: int, are_written: bool) -> dict[str, float]:
    """Of options that are written for their question: what can be told without reading any."""
    return {"longest_option": measure_longest(options, right), "place": float(right)} if are_written else {}


def measure_longest(options: Sequence[str], right: int) -> float:
    """The probability that a longest option is the right one, where one of them is drawn."""
    longest = [place for place, option in enumerate(options) if len(option) == max(map(len, options))]
    return (right in longest) / len(longest)
