"""Four-choice questions in the other style: the options stand in a list, and the model's answer is a letter.

What stands first in a list is chosen more often (Zheng et al., "Large Language Models Are Not Robust Multiple Choice
Selectors", arXiv 2309.03882). So a question is asked once for each of several cyclic permutations of its options, and
an option has the mean log-likelihood of the letters that it stood behind. With as many permutations as there are
options, each has stood in every place, and what the model thinks of a place cancels out.
"""

from collections.abc import Sequence
from itertools import combinations, islice
from statistics import mean
from typing import TYPE_CHECKING

from netllama.core.records import LETTERS, Question
from netllama.rendering.question_texts import list_options, phrase_listed
from netllama.rendering.renderer import Renderer
from netllama.scoring.likelihood import score_continuations
from netllama.scoring.rendered_answers import render_answers
from netllama.scoring.shared_prefixes import Continued

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel


def score_listed(
    model: "LanguageModel", questions: Sequence[Question], renderer: Renderer, permutations: int
) -> dict[str, dict[str, float]]:
    """By the id of a four-choice question, the measures of its answers to the first `permutations` orders."""
    asked = [question for question in questions if question.kind == "choice"] if permutations else []
    shifts = [range(min(permutations, len(question.options))) for question in asked]
    texts = [
        render_listed(question, shift, renderer) for question, own in zip(asked, shifts, strict=True) for shift in own
    ]
    scores = iter(score_continuations(model, texts, desc="listed options") if texts else [])
    return {
        question.id: judge_listed(question, list(islice(scores, len(own))))
        for question, own in zip(asked, shifts, strict=True)
    }


def render_listed(question: Question, shift: int, renderer: Renderer) -> Continued:
    """The question with its options rotated by `shift`, and each letter as what may follow it."""
    return render_answers(question.id, phrase_listed(question, shift), LETTERS[: len(question.options)], renderer)


def judge_listed(question: Question, log_likelihoods: Sequence[Sequence[float]]) -> dict[str, float]:
    """What the letters' log-likelihoods (nats; one list for each shift 0, 1, ...) say of the options.

    `accuracy_listed`: whether the right option has the highest mean. `follows_position`: in which share of all pairs of
    orders the model takes the same letter, though another option stands there; only where there are two orders. It is
    0 if only the text counts, 1 if only the place does, and a uniform guess has 1 / options.
    """
    options, right = list_options(question)
    number = len(options)
    means = [
        mean(own[(option - shift) % number] for shift, own in enumerate(log_likelihoods)) for option in range(number)
    ]
    measures = {"accuracy_listed": float(means.index(max(means)) == right)}
    letters = [own.index(max(own)) for own in log_likelihoods]
    if pairs := list(combinations(letters, 2)):
        measures["follows_position"] = mean(float(one == other) for one, other in pairs)
    return measures
