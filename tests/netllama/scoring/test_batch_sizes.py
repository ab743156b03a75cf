"""No score and no answer of a model depends on how many items go through it together."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from netllama.core.tokenized_rows import TokenizedRow
from netllama.documents.document import show_chunk
from netllama.rendering.question_texts import phrase_question
from netllama.rendering.renderer import Renderer
from netllama.scoring import memory_batches
from netllama.scoring.kept_answers import NOTHING_KEPT, KeptAnswers, LimitedPrompt
from netllama.scoring.material import Material
from netllama.scoring.measure import measure_model
from netllama.scoring.reading_scores import ANSWER_TOKENS, ReadingMaterial
from netllama.scoring.score import Numbers, Score
from netllama.scoring.token_draws import TokenDraw
from tests.support.decisive_model import load_decisive_model
from tests.support.reading_sets import make_asked, make_report_chunks
from tests.support.shipped_data import load_shipped_questions
from tests.support.training_runs import SHIPPED

pytestmark = pytest.mark.usefixtures("one_thread")
SIZES = [(1, 1), (2, 90), (5, 700), (64, 100_000)]
"""Answers written together, and tokens of a batch of likelihoods."""


class Echo:
    """In place of `KeptAnswers`: notes what it is asked, and answers with the prompt's last tokens."""

    def __init__(self) -> None:
        self.asked: list[list[LimitedPrompt]] = []

    def write(self, model: Any, prompts: list[LimitedPrompt], eos: int, batch_size: int) -> list[list[int]]:
        self.asked.append(prompts)
        return [prompt.ids[-prompt.limit :] for prompt in prompts]


def measure_with(
    model: Any,
    rows: list[TokenizedRow],
    renderer: Renderer,
    answers: int,
    tokens: int,
    kept: KeptAnswers = NOTHING_KEPT,
) -> tuple[Numbers, list[Score]]:
    small = {"batch_size": answers, "max_new_tokens": 8, "num_generated": 5, "num_open": 3, "listed_permutations": 2}
    params = SHIPPED.evaluate.model_copy(update=small)
    questions = load_shipped_questions()
    kinds = ("choice", "true_false", "blank")
    some = [question for kind in kinds for question in [each for each in questions if each.kind == kind][::40]]
    some += [question for question in questions if question.kind == "open"][:4]
    texts = {chunk.id: show_chunk(chunk.headings, chunk.text) for chunk in make_report_chunks()}
    asked = [make_asked(number, ["r5", f"r{number}", "r4"][: 1 + number]) for number in range(3)]
    closed = make_asked(0, ["r1", "r0"]).model_copy(update={"kind": "choice"})
    reading = ReadingMaterial(asked, [(closed, question) for question in some if question.kind == "choice"][:3], texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory_batches, "CPU_TOKENS", tokens)
        return measure_model(model, Material(params, rows, some, reading, [], renderer, sandbox=None), kept)


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
    assert kinds == {"heldout", "choice", "true_false", "blank", "open", "generation", "report"}
    assert len({score.answer for score in expected[1] if score.kind in ("blank", "open", "generation")}) > 5
    for metrics, scores in others:
        assert dict(list_leaves(metrics)) == pytest.approx(dict(list_leaves(expected[0])), rel=1e-6, abs=1e-4)
        for one, other in zip(scores, expected[1], strict=True):
            assert (one.item, one.kind, one.answer) == (other.item, other.kind, other.answer)
            assert one.value == pytest.approx(other.value, abs=2e-6)
            assert one.measures == pytest.approx(other.measures, abs=2e-4)


def test_all_kinds_are_asked_in_one_queue_and_each_item_gets_its_own_answer(
    tiny_model_folder: Path, tiny_tokenizer: Any, tokenized_rows: Callable[..., list[TokenizedRow]]
) -> None:
    model, renderer, rows = (
        load_decisive_model(tiny_model_folder),
        Renderer(tiny_tokenizer, "chat", ""),
        tokenized_rows(9),
    )
    echo = Echo()
    _, scores = measure_with(model, rows, renderer, 4, 700, cast(KeptAnswers, echo))
    asked, drawn = echo.asked
    assert drawn == []
    written = [score for score in scores if score.kind in ("blank", "open", "generation", "report")]
    assert {score.kind for score in written} == {"blank", "open", "generation", "report"}
    assert [score.answer for score in written] == [
        renderer.decode_answer(prompt.ids[-prompt.limit :]) for prompt in asked
    ]
    prompts = {row.id: row.input_ids[: row.answer_start] for row in rows}
    prompts |= {each.id: renderer.encode_prompt(phrase_question(each)) for each in load_shipped_questions()}
    for score, prompt in zip(written, asked, strict=True):
        assert score.item not in prompts or prompt.ids == prompts[score.item]
        assert prompt.limit == (ANSWER_TOKENS if score.kind == "report" else 8)


def test_samples_are_written_by_themselves_and_move_no_greedy_answer(
    tiny_model_folder: Path, tiny_tokenizer: Any
) -> None:
    """In half precision what stands beside an answer may decide a near-tie."""
    model, renderer = load_decisive_model(tiny_model_folder), Renderer(tiny_tokenizer, "chat", "")
    shipped = load_shipped_questions()
    coded, blanks = ([each for each in shipped if each.kind == kind] for kind in ("code", "blank"))
    asked = [*coded[:2], *blanks[:2]]
    queues, kinds = [], []
    for samples in (0, 3):
        params = SHIPPED.evaluate.model_copy(update={"num_code": 2, "code_samples": samples})
        material = Material(params, [], asked, ReadingMaterial([], [], {}), [], renderer, cast(Any, "no script is run"))
        _, scores = measure_model(model, material, cast(KeptAnswers, echo := Echo()))
        queues.append(echo.asked)
        kinds.append([score.kind for score in scores if score.kind.startswith("code")])
    assert queues[0][0] == queues[1][0]
    assert all(prompt.steering is None for prompt in queues[1][0])
    assert [len(drawn) for _, drawn in queues] == [0, 6]
    assert all(isinstance(prompt.steering, TokenDraw) for prompt in queues[1][1])
    assert kinds == [["code"] * 2, ["code"] * 2 + ["code_samples"] * 2]
