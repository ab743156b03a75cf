"""Tokens that are drawn: by the softmax at their temperature, and the same ones by every way to decode."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from netllama.scoring import generation
from netllama.scoring.first_bias import FirstBias
from netllama.scoring.generation import generate_answers
from netllama.scoring.token_draws import Steering, TokenDraw, make_noise
from tests.support.decisive_model import load_decisive_model

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
STEERINGS = (
    st.none()
    | st.builds(FirstBias, st.integers(2, 599), st.sampled_from([-200.0, 200.0]))
    | st.builds(TokenDraw, st.integers(0, 2**56 - 1), st.sampled_from([0.2, 1.0, 2.0]))
)
ASKED = st.lists(st.tuples(st.lists(st.integers(2, 599), min_size=1, max_size=9), STEERINGS), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> Any:
    return load_decisive_model(tiny_model_folder).requires_grad_(False)


@torch.inference_mode()
def write_plainly(model: Any, prompt: list[int], steering: Steering | None, eos: int, number: int) -> list[int]:
    """A token at a time, each from the whole text before it."""
    written: list[int] = []
    while len(written) < number and eos not in written:
        logits = model(input_ids=torch.tensor([prompt + written])).logits[0, -1]
        if isinstance(steering, TokenDraw):
            logits = logits + make_noise(steering, len(written), len(logits))
        elif steering and not written:
            logits[steering.token] += steering.value
        written.append(int(logits.argmax()))
    return written


def own_loop(model: Any, prompts: list[list[int]], eos: int, number: int, steerings: Sequence[Any]) -> Any:
    return generate_answers(model, prompts, eos, 3, number, steerings)


def by_library(model: Any, prompts: list[list[int]], eos: int, number: int, steerings: Sequence[Any]) -> Any:
    with torch.inference_mode():
        return generation._write_batch(model, prompts, eos, number, steerings)


@pytest.mark.parametrize("write", [own_loop, by_library])
@given(asked=ASKED, number=st.integers(1, 7), ends=st.data())
@QUICK
def test_every_way_to_decode_draws_what_a_plain_loop_draws(
    model: Any, write: Callable[..., Any], asked: list[tuple[list[int], Any]], number: int, ends: Any
) -> None:
    free = [write_plainly(model, prompt, steering, -1, number) for prompt, steering in asked]
    eos = ends.draw(st.sampled_from([-1, *sorted({token for answer in free for token in answer})]))
    expected = [write_plainly(model, prompt, steering, eos, number) for prompt, steering in asked]
    assert write(model, [prompt for prompt, _ in asked], eos, number, [steering for _, steering in asked]) == expected


def test_drawn_answers_take_no_recorded_step_on_a_gpu(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph has no noise in it: rows with draws go the library's way, the others keep theirs."""
    recorded: list[int] = []

    def decode(model: Any, prompts: list[list[int]], eos: int, limit: int, biases: Any = ()) -> list[list[int]]:
        recorded.append(len(prompts))
        return [[7] * limit for _ in prompts]

    monkeypatch.setattr(generation, "can_decode", lambda model: False)
    monkeypatch.setattr(generation, "can_record", lambda model: True)
    monkeypatch.setattr(generation, "decode_by_graph", decode)
    prompts, draw = [[5, 6], [7, 8]], TokenDraw(3, 1.0)
    for limits in ([4, 3], [3, 3]):
        assert generate_answers(model, prompts, -1, 2, limits, [None, draw]) == [
            [7] * limits[0],
            write_plainly(model, [7, 8], draw, -1, 3),
        ]
    assert recorded == [1, 1]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax_at_their_temperature(temperature: float) -> None:
    logits = torch.tensor([2.0, 1.0, 0.5, -1.0, 0.0])
    drawn = [int((logits + make_noise(TokenDraw(seed, temperature), 0, 5)).argmax()) for seed in range(4000)]
    chances = (logits / temperature).softmax(0).numpy().astype(float)
    assert chisquare(np.bincount(drawn, minlength=5), chances / chances.sum() * 4000).pvalue > 0.01


def test_noise_is_finite_in_a_large_vocabulary() -> None:
    """An infinite one would win whatever the model thinks of its token."""
    assert all(bool(make_noise(TokenDraw(seed, 1.0), 0, 49152).isfinite().all()) for seed in range(400))


def test_noise_depends_on_the_seed_and_the_place_alone() -> None:
    first = make_noise(TokenDraw(5, 1.0), 3, 50)
    assert torch.equal(first, make_noise(TokenDraw(5, 1.0), 3, 50))
    assert torch.allclose(make_noise(TokenDraw(5, 0.5), 3, 50), first / 2)
    others = [make_noise(TokenDraw(6, 1.0), 3, 50), make_noise(TokenDraw(5, 1.0), 4, 50)]
    assert not any(torch.equal(first, other) for other in others)
