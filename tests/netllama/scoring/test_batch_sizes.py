"""No score and no answer of a model depends on how many items go through it together."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from netllama.core.records import load_questions
from netllama.core.tokenized_rows import TokenizedRow
from netllama.rendering.renderer import Renderer
from netllama.scoring import likelihood
from netllama.scoring.measure import Material, measure_model
from netllama.scoring.score import Numbers, Score
from tests.support.clones import ROOT
from tests.support.decisive_model import load_decisive_model
from tests.support.training_runs import SHIPPED

pytestmark = pytest.mark.usefixtures("one_thread")
SIZES = [(1, 1), (2, 90), (5, 700), (64, 100_000)]
"""Answers written together, and tokens of a batch of likelihoods."""


def measure_with(
    model: Any, rows: list[TokenizedRow], renderer: Renderer, answers: int, tokens: int
) -> tuple[Numbers, list[Score]]:
    small = {"batch_size": answers, "max_new_tokens": 8, "num_generated": 5, "num_open": 3, "listed_permutations": 2}
    params = SHIPPED.evaluate.model_copy(update=small)
    questions = load_questions(ROOT / "data" / "questions")
    kinds = ("choice", "true_false", "blank")
    some = [question for kind in kinds for question in [each for each in questions if each.kind == kind][::40]]
    some += [question for question in questions if question.kind == "open"][:4]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(likelihood.TOKENS, "cpu", tokens)
        return measure_model(model, Material(params, rows, some, renderer, sandbox=None))


def list_leaves(metrics: Numbers, prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from list_leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def test_scores_and_answers_of_every_kind_are_the_same_at_every_batch_size(
    tiny_model_folder: Path, tiny_tokenizer: Any, tokenized_rows: Callable[..., list[TokenizedRow]]
) -> None:
    model, renderer = load_decisive_model(tiny_model_folder), Renderer(tiny_tokenizer, "chat", "")
    expected, *others = [measure_with(model, tokenized_rows(9), renderer, *size) for size in SIZES]
    kinds = {score.kind for score in expected[1]}
    assert kinds == {"heldout", "choice", "true_false", "blank", "open", "generation"}
    assert len({score.answer for score in expected[1] if score.kind in ("blank", "open", "generation")}) > 5
    for metrics, scores in others:
        assert dict(list_leaves(metrics)) == pytest.approx(dict(list_leaves(expected[0])), rel=1e-6, abs=1e-4)
        for one, other in zip(scores, expected[1], strict=True):
            assert (one.item, one.kind, one.answer) == (other.item, other.kind, other.answer)
            assert one.value == pytest.approx(other.value, abs=2e-6)
            assert one.measures == pytest.approx(other.measures, abs=2e-4)
