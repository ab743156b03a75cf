"""A full device halves the batch: the same scores and answers come out, and nothing that fitted is done twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.errors import StageError
from netllama.models.device_memory import (
    FEWEST_READ,
    MOST_READ,
    ModelShape,
    Workload,
    count_fixed_bytes,
    count_reading_tokens,
    count_token_bytes,
)
from netllama.scoring import generation, likelihood, prompt_reading
from netllama.scoring.generation import generate_answers
from netllama.scoring.likelihood import score_continuations
from netllama.scoring.memory_batches import MemoryBatches
from netllama.scoring.shared_prefixes import Continued, batch_by_tokens
from tests.support.decisive_model import load_decisive_model

pytestmark = pytest.mark.usefixtures("one_thread")


def fails_above(tokens: int, widths: list[int], seen: list[list[int]]) -> Callable[[list[int]], list[int]]:
    """What a batch costs more than `tokens` tokens for runs out of memory."""

    def compute(batch: list[int]) -> list[int]:
        seen.append(batch)
        if len(batch) * max(widths[position] for position in batch) > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return [widths[position] for position in batch]

    return compute


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(30, 200))
def test_every_row_is_computed_once_in_order_whatever_fits(widths: list[int], tokens: int) -> None:
    seen: list[list[int]] = []
    batches = batch_by_tokens(widths, 10_000)
    done = list(MemoryBatches(widths, "choice").run(batches, fails_above(tokens, widths, seen)))
    rows = [row for batch, _ in done for row in batch]
    assert rows == [row for batch in batch_by_tokens(widths, 10_000) for row in batch]
    assert all(found == [widths[row] for row in batch] for batch, found in done)
    # Each failure is of fewer tokens than the one before it: what was too much is not tried again.
    failed = [batch for batch in seen if batch not in [each for each, _ in done]]
    costs = [len(batch) * max(widths[row] for row in batch) for batch in failed]
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) == len(costs)


def test_one_row_that_does_not_fit_is_an_error_that_says_what_to_do() -> None:
    widths = [50, 10]
    run = MemoryBatches(widths, "held-out loss").run(iter([[0, 1]]), fails_above(20, widths, []))
    with pytest.raises(StageError, match=r"^held-out loss: the device's memory is full with one row of 50 tokens; "):
        list(run)


def test_an_error_of_another_kind_is_not_caught() -> None:
    def compute(batch: list[int]) -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        list(MemoryBatches([1, 1], "choice").run(iter([[0, 1]]), compute))


def full_above(rows: int, function: Any, place: int) -> Any:
    """`function`, out of memory where its argument at `place` has more than `rows` rows."""

    def compute(*given_arguments: Any) -> Any:
        argument = given_arguments[place]
        if len(argument if isinstance(argument, list) else argument.input_ids) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return function(*given_arguments)

    return compute


def test_scores_and_answers_are_those_of_whole_batches(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_decisive_model(tiny_model_folder)
    texts = [Continued([5, 6, 7, *range(8, 8 + each)], [[20, 21], [22, 23, 24 + each]]) for each in range(9)]
    prompts = [[5, 6, *range(30, 31 + each)] for each in range(7)]
    monkeypatch.setattr(generation, "can_decode", lambda model: False)
    scores, answers = score_continuations(model, texts, "choice"), generate_answers(model, prompts, -1, 7, 5)
    monkeypatch.setattr(likelihood, "_score_batch", full_above(2, likelihood._score_batch, 1))
    monkeypatch.setattr(generation, "_write_batch", full_above(3, generation._write_batch, 1))
    monkeypatch.setattr(prompt_reading.PromptReader, "_read", full_above(2, prompt_reading.PromptReader._read, 2))
    assert generate_answers(model, prompts, -1, 7, 5) == answers
    for found, expected in zip(score_continuations(model, texts, "choice"), scores, strict=True):
        assert found == pytest.approx(expected, abs=1e-4)


@given(st.integers(0, 10**12), st.sampled_from([2, 4]))
def test_the_tokens_of_a_batch_fit_and_are_a_power_of_two(free: int, width: int) -> None:
    shape = ModelShape(10**9, 10**8, 16, 2048, 8192, 512, 10**6)
    tokens = count_reading_tokens(shape, free, width)
    assert FEWEST_READ <= tokens <= MOST_READ
    assert tokens.bit_count() == 1
    if tokens > FEWEST_READ:
        assert tokens * count_token_bytes(shape, Workload(), width) + count_fixed_bytes() <= 0.9 * free + 1
