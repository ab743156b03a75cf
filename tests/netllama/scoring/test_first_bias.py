"""A bias on the first token of an answer: each way to decode gives what a plain loop gives that adds it by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netllama.asking.answer_stream import AnswerStream, Speaker, make_speakers
from netllama.rendering.renderer import Renderer
from netllama.scoring import generation, likelihood
from netllama.scoring.first_bias import FirstBias, place_biases
from netllama.scoring.generation import generate_answers
from netllama.scoring.graph_decoding import PLAIN_STEPS, decode_by_graph
from netllama.scoring.likelihood import weigh_first_tokens
from tests.support.decisive_model import load_decisive_model

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
BIASES = st.none() | st.builds(FirstBias, st.integers(2, 599), st.sampled_from([-200.0, -3.0, 2.5, 200.0]))
ASKED = st.lists(st.tuples(st.lists(st.integers(2, 599), min_size=1, max_size=12), BIASES), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> Any:
    return load_decisive_model(tiny_model_folder).requires_grad_(False)


@torch.inference_mode()
def write_plainly(model: Any, prompt: list[int], bias: FirstBias | None, eos: int, number: int) -> list[int]:
    """A token at a time, each from the whole text before it."""
    written: list[int] = []
    while len(written) < number and eos not in written:
        logits = model(input_ids=torch.tensor([prompt + written])).logits[0, -1]
        if bias and not written:
            logits[bias.token] += bias.value
        written.append(int(logits.argmax()))
    return written


def own_loop(model: Any, prompts: list[list[int]], eos: int, number: int, biases: list[FirstBias | None]) -> Any:
    return generate_answers(model, prompts, eos, 3, number, biases)


def by_library(model: Any, prompts: list[list[int]], eos: int, number: int, biases: list[FirstBias | None]) -> Any:
    with torch.inference_mode():
        return generation._write_batch(model, prompts, eos, number, biases)


def by_graph(model: Any, prompts: list[list[int]], eos: int, number: int, biases: list[FirstBias | None]) -> Any:
    """As on CUDA, where the steps after the first few run as one that was recorded: with the same tensors."""
    with torch.inference_mode():
        return decode_by_graph(model, prompts, eos, number, lambda run: run, biases)


@pytest.mark.parametrize("write", [own_loop, by_library, by_graph])
@given(asked=ASKED, number=st.integers(1, PLAIN_STEPS + 4), ends=st.data())
@QUICK
def test_every_way_to_decode_adds_it_once(
    model: Any, write: Callable[..., Any], asked: list[tuple[list[int], FirstBias | None]], number: int, ends: Any
) -> None:
    prompts, biases = [prompt for prompt, _ in asked], [bias for _, bias in asked]
    free = [write_plainly(model, prompt, bias, -1, number) for prompt, bias in asked]
    eos = ends.draw(st.sampled_from([-1, *sorted({token for answer in free for token in answer})]))
    expected = [write_plainly(model, prompt, bias, eos, number) for prompt, bias in asked]
    assert write(model, prompts, eos, number, biases) == expected


def test_a_large_one_forces_the_first_token_and_no_other(model: Any) -> None:
    [answer] = generate_answers(model, [[5, 6, 7]], -1, 1, 6, [FirstBias(77, 1e6)])
    assert answer == [77, *generate_answers(model, [[5, 6, 7, 77]], -1, 1, 5)[0]]
    assert 77 not in answer[1:]


@pytest.mark.parametrize("library", [False, True])
def test_a_stream_gives_the_answer_that_evaluate_gets(model: Any, tiny_tokenizer: Any, library: bool) -> None:
    renderer = Renderer(tiny_tokenizer, "chat", "")
    [speaker] = make_speakers(model, renderer, has_adapter=False)
    speaker = Speaker("base model", model, renderer) if library else speaker
    prompt, bias = speaker.encode_question("Which peer?"), FirstBias(77, 1e6)
    stream = AnswerStream(speaker, prompt, 9, bias=bias)
    while not stream.is_done:
        stream.step()
    assert stream.ids == generate_answers(model, [prompt], int(tiny_tokenizer.eos_token_id), 1, 9, [bias])[0]
    assert stream.ids[0] == 77


@given(prompts=st.lists(st.lists(st.integers(2, 599), min_size=1, max_size=12), min_size=1, max_size=6))
@pytest.mark.parametrize("plain", [True, False], ids=["product", "own head"])
@QUICK
def test_a_first_token_is_weighed_against_the_likeliest_other(
    model: Any, plain: bool, prompts: list[list[int]]
) -> None:
    with torch.inference_mode():
        logits = [model(input_ids=torch.tensor([prompt])).logits[0, -1] for prompt in prompts]
    for token in {int(logits[0].argmax()), 5}:
        others = [torch.cat([row[:token], row[token + 1 :]]).max() for row in logits]
        expected = [float(row[token] - other) for row, other in zip(logits, others, strict=True)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(likelihood, "has_plain_head", lambda model: plain)
            assert weigh_first_tokens(model, prompts, token, "weighed") == pytest.approx(expected, abs=1e-3)


def test_rows_without_one_are_left_out() -> None:
    assert place_biases([None, FirstBias(7, 1.5), None, FirstBias(9, -2.0)]) == ([1, 3], [7, 9], [1.5, -2.0])
    assert place_biases([]) == ([], [], [])
