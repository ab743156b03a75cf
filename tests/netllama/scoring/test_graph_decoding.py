"""Decoding with a static cache against transformers' `generate`; on the CPU a step is run instead of recorded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from netllama.scoring import generation, graph_decoding
from netllama.scoring.generation import generate_answers
from netllama.scoring.graph_decoding import CHECK_EVERY, PLAIN_STEPS, StaticStep, decode_by_graph
from tests.support.adapters import adapted
from tests.support.decisive_model import load_decisive_model

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
PROMPTS = st.lists(st.lists(st.integers(2, 599), min_size=1, max_size=12), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def models(tiny_model_folder: Path) -> dict[str, Any]:
    tuned = adapted(tiny_model_folder, lora_alpha=7).eval()
    with torch.no_grad():
        tuned.get_output_embeddings().weight.mul_(20)
    return {"plain": load_decisive_model(tiny_model_folder), "lora": tuned}


class Recorder:
    """In place of a CUDA graph: counts how often a step was recorded, and how often it ran."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, run: Callable[[], object]) -> Callable[[], object]:
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            run()

        return replay


def write(model: Any, prompts: list[list[int]], eos: int, limit: int) -> tuple[list[list[int]], Recorder]:
    recorder = Recorder()
    with torch.inference_mode():
        return decode_by_graph(model, prompts, eos, limit, recorder), recorder


def write_by_library(model: Any, prompts: list[list[int]], eos: int, limit: int) -> list[list[int]]:
    """With the library's dynamic cache."""
    with torch.inference_mode():
        return generation._write_batch(model, prompts, eos, limit)


@pytest.mark.parametrize("kind", ["plain", "lora"])
@given(prompts=PROMPTS, limit=st.integers(1, 2 * PLAIN_STEPS), ends=st.data())
@QUICK
def test_the_text_is_that_of_the_dynamic_cache(
    models: dict[str, Any], kind: str, prompts: list[list[int]], limit: int, ends: st.DataObject
) -> None:
    free = write_by_library(models[kind], prompts, -1, limit)
    eos = ends.draw(st.sampled_from([-1, *sorted({token for answer in free for token in answer})]))
    found, recorder = write(models[kind], prompts, eos, limit)
    assert found == write_by_library(models[kind], prompts, eos, limit)
    assert recorder.recorded == (limit > PLAIN_STEPS)
    assert recorder.replayed == max(0, limit - PLAIN_STEPS)


def test_no_step_follows_long_after_all_rows_have_ended(models: dict[str, Any]) -> None:
    [answer] = write_by_library(models["plain"], [[5, 6]], -1, 4)
    found, recorder = write(models["plain"], [[5, 6]], answer[2], 90)
    assert found == [answer[: answer.index(answer[2]) + 1]]
    assert recorder.replayed == CHECK_EVERY - PLAIN_STEPS


WAITING = {"item", "_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal"}


class Watching(TorchDispatchMode):
    """Refuses what waits for the device, or has a shape that its numbers decide: no such step can be recorded."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket._qualified_op_name
        assert name.removeprefix("aten::") not in WAITING
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["plain", "lora"])
def test_a_step_waits_for_nothing_and_its_tensors_stay_where_they_are(models: dict[str, Any], kind: str) -> None:
    with torch.inference_mode():
        step = StaticStep(models[kind], [[5, 6, 7], [8]], 6)
        held = [value for value in vars(step).values() if isinstance(value, torch.Tensor)]
        held += [part for layer in step._cache.layers for part in (layer.keys, layer.values, layer.cumulative_length)]
        before = [tensor.data_ptr() for tensor in held]
        with Watching():
            step.run()
            step.run()
        now = [value for value in vars(step).values() if isinstance(value, torch.Tensor)]
        now += [part for layer in step._cache.layers for part in (layer.keys, layer.values, layer.cumulative_length)]
        assert [tensor.data_ptr() for tensor in now] == before
        with pytest.raises(AssertionError), Watching():
            step.written.sum().item()


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are written as on CUDA."""
    monkeypatch.setattr(generation, "can_decode", lambda model: False)
    monkeypatch.setattr(generation, "can_record", lambda model: True)


def test_a_step_that_cannot_be_recorded_is_said_once_and_answers_are_written_all_the_same(
    models: dict[str, Any], on_cuda: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[int] = []

    def fail(run: Callable[[], object]) -> Callable[[], object]:
        tried.append(1)
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCUDA kernel errors might")

    monkeypatch.setattr(decode_by_graph, "__defaults__", (fail, ()))
    prompts = [[5, 6, number] for number in range(7, 12)]
    found = generate_answers(models["plain"], prompts, -1, 2, 9)
    assert found == [write_by_library(models["plain"], [prompt], -1, 9)[0] for prompt in prompts]
    assert len(tried) == 1
    said = "answers: without CUDA graphs (CUDA error: operation not permitted when stream is capturing)\n"
    assert capsys.readouterr().err.count(said) == 1


def test_a_full_device_halves_the_batch(models: dict[str, Any], on_cuda: None, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    decode = graph_decoding.decode_by_graph

    def fill(model: Any, prompts: list[list[int]], eos: int, limit: int, biases: list[None]) -> list[list[int]]:
        sizes.append(len(prompts))
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return decode(model, prompts, eos, limit, Recorder())

    monkeypatch.setattr(generation, "decode_by_graph", fill)
    prompts = [[5, 6, number] for number in range(7, 12)]
    found = generate_answers(models["plain"], prompts, -1, 5, 9)
    assert found == [write_by_library(models["plain"], [prompt], -1, 9)[0] for prompt in prompts]
    assert sizes == [5, 3, 2, 1, 2]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_recorded_step_writes_what_single_steps_write(
    tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_decisive_model(tiny_model_folder).cuda()
    prompts = [[5, 6, *range(7, 7 + number)] for number in range(9)]
    limits = [1, 40, 40, 5, 40, 40, PLAIN_STEPS + 1, 40, 40]
    found = generate_answers(model, prompts, -1, 4, limits)
    assert "without CUDA graphs" not in capsys.readouterr().err
    for prompt, limit, answer in zip(prompts, limits, found, strict=True):
        assert answer == write_by_library(model, [prompt], -1, limit)[0]
