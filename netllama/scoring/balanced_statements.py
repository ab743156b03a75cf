"""True/false questions with two pairs of words and without the model's liking for either word.

A model may find "True" likelier than "False" after any statement, and then it is right about every true one. Two
things are done against it: the answer is asked for in two wordings, True/False and Yes/No, and from the log-odds of
each wording those are taken off that it has where no statement is made ("N/A", the content-free input of Zhao et al.,
"Calibrate Before Use", arXiv 2102.09690). The sign of their mean is the answer.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netllama.core.records import Question
from netllama.rendering.question_texts import VERBALISERS
from netllama.rendering.renderer import Renderer
from netllama.scoring.likelihood import score_continuations
from netllama.scoring.rendered_answers import render_answers

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

CONTENT_FREE = "N/A"


def score_balanced(
    model: "LanguageModel", questions: Sequence[Question], plain: Sequence[Sequence[float]], renderer: Renderer
) -> dict[str, float]:
    """By the id of a true/false question, 1 if the balanced answer is right, else 0.

    `plain`: for each question, of whatever kind, the log-likelihoods (nats) of its options in the first wording, which
    is how `phrase_question` asks.
    """
    own = [(question, each) for question, each in zip(questions, plain, strict=True) if question.kind == "true_false"]
    if not own:
        return {}
    second, words = VERBALISERS[1]
    texts = [render_answers(question.id, f"{second} {question.question}", words, renderer) for question, _ in own]
    texts += [
        render_answers(CONTENT_FREE, f"{wording} {CONTENT_FREE}", words, renderer) for wording, words in VERBALISERS
    ]
    *others, unasked_first, unasked_second = map(_subtract, score_continuations(model, texts, desc="true or false"))
    return {
        question.id: float(
            judge_balanced([(_subtract(each), unasked_first), (other, unasked_second)]) == (question.answer == "true")
        )
        for (question, each), other in zip(own, others, strict=True)
    }


def _subtract(log_likelihoods: Sequence[float]) -> float:
    """The log-odds of true, of the words for true and for false."""
    true, false = log_likelihoods
    return true - false


def judge_balanced(odds: Sequence[tuple[float, float]]) -> bool:
    """Whether a statement is called true that has these log-odds of true (nats) in each wording, with the statement
    and without it. Odds of zero are no yes."""
    return sum(asked - unasked for asked, unasked in odds) > 0
