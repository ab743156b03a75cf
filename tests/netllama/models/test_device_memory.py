"""What fits on a device: the arithmetic against published sizes and against what autograd really keeps."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.sections import LoraParams
from netllama.models import loading
from netllama.models.device_memory import (
    USABLE,
    ModelShape,
    Workload,
    compute_demand,
    count_fitting_tokens,
    count_token_bytes,
    plan_weights,
    read_shape,
)
from netllama.models.loading import load_base
from tests.support.training_runs import loading_params

GB = 10**9


def shape_of(hidden: int, inner: int, layers: int, keys: int, vocabulary: int) -> ModelShape:
    """Of a Llama with these sizes, its head and embeddings apart."""
    sides = [(hidden, hidden), (hidden, keys), (hidden, keys), (hidden, hidden)] + [(hidden, inner)] * 3
    return ModelShape(
        quantized=layers * sum(ins * outs for ins, outs in sides),
        other=2 * vocabulary * hidden + (2 * layers + 1) * hidden,
        layers=layers,
        hidden=hidden,
        inner=inner,
        keys=keys,
        linear_sides=layers * sum(ins + outs for ins, outs in sides),
    )


LLAMA_13B = shape_of(5120, 13824, 40, 5120, 32000)
LLAMA_8B = shape_of(4096, 14336, 32, 1024, 128256)
RECIPE = Workload(tokens=4 * 512, rank=64)
SHAPES = st.builds(
    shape_of,
    hidden=st.sampled_from([64, 512, 4096]),
    inner=st.sampled_from([128, 2048, 14336]),
    layers=st.integers(1, 48),
    keys=st.sampled_from([64, 512]),
    vocabulary=st.integers(100, 150_000),
)
WORK = st.builds(
    Workload,
    tokens=st.integers(1, 50_000),
    rank=st.integers(0, 256),
    optimizer_bytes=st.sampled_from([2, 8]),
    checkpointing=st.booleans(),
)


def test_the_weights_of_llama_2_13b_take_26_gb_dequantized_and_7_packed() -> None:
    """13.0 billion parameters, as published; r=64 on all linear layers are 250 million more."""
    assert LLAMA_13B.quantized + LLAMA_13B.other == 13_015_864_320
    assert compute_demand(LLAMA_13B, RECIPE, True, 2).base == pytest.approx(26.0 * GB, rel=0.01)
    assert compute_demand(LLAMA_13B, RECIPE, False, 2).base == pytest.approx(7.8 * GB, rel=0.02)
    assert compute_demand(LLAMA_13B, RECIPE, True, 2).adapter == 64 * LLAMA_13B.linear_sides * 18
    assert 64 * LLAMA_13B.linear_sides == 250_347_520


@pytest.mark.parametrize(
    ("shape", "gigabytes", "checkpointing", "cached"),
    [
        (LLAMA_13B, 80, False, True),
        (LLAMA_13B, 80, True, True),
        (LLAMA_13B, 48, False, False),
        (LLAMA_13B, 24, True, False),
        (LLAMA_8B, 48, False, True),
        (LLAMA_8B, 24, True, False),
        (LLAMA_8B, 16, True, False),
    ],
)
def test_cards_of_today(shape: ModelShape, gigabytes: int, checkpointing: bool, cached: bool) -> None:
    work = Workload(tokens=RECIPE.tokens, rank=64, checkpointing=checkpointing)
    assert plan_weights(shape, work, gigabytes * GB, 2).cached == cached


def test_the_decision_says_its_sum() -> None:
    text = plan_weights(LLAMA_13B, RECIPE, 80 * GB, 2).text
    demand = compute_demand(LLAMA_13B, RECIPE, True, 2)
    assert text == (
        f"weights: cached (26.0 GB dequantized + 4.5 adapter and optimizer + {demand.activations / GB:.1f} activations "
        f"of 2,048 tokens = {demand.total / GB:.1f}, at most 90% of 80.0 GB free)"
    )
    assert "packed" in plan_weights(LLAMA_13B, RECIPE, 30 * GB, 2).text
    assert "more than 90% of 30.0 GB free" in plan_weights(LLAMA_13B, RECIPE, 30 * GB, 2).text


@given(SHAPES, WORK, st.integers(1, 200 * GB))
def test_what_is_cached_fits_with_its_margin_and_more_memory_never_changes_that(
    shape: ModelShape, work: Workload, free: int
) -> None:
    demand, plan = compute_demand(shape, work, True, 2), plan_weights(shape, work, free, 2)
    assert plan.cached == (demand.base + demand.adapter + demand.activations <= USABLE * free)
    assert not plan.cached or plan_weights(shape, work, 2 * free, 2).cached
    assert compute_demand(shape, work, False, 2).base <= demand.base


@given(SHAPES, WORK, st.booleans(), st.integers(1, 200 * GB), st.integers(1, 20_000))
def test_the_tokens_that_fit_fit_and_one_more_does_not(
    shape: ModelShape, work: Workload, cached: bool, free: int, most: int
) -> None:
    def total(tokens: int) -> int:
        same = Workload(tokens, work.rank, work.optimizer_bytes, work.checkpointing)
        return compute_demand(shape, same, cached, 2).total

    tokens = count_fitting_tokens(shape, work, cached, free, 2, most)
    assert 1 <= tokens <= most
    # compute_demand rounds to whole bytes.
    assert tokens == 1 or total(tokens) <= USABLE * free + 4
    assert tokens == most or total(tokens + 1) > USABLE * free - 4


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_loaded_model_has_the_shape_of_its_configuration(tiny_model_folder: Path, quantization: str) -> None:
    model = load_base(tiny_model_folder, loading_params("fp32", quantization, True, "packed"))
    config = model.config
    expected = shape_of(config.hidden_size, config.intermediate_size, 2, 32, config.vocab_size)
    found = read_shape(model)
    assert found == expected


@pytest.mark.parametrize("rank", [4, 32])
def test_the_activations_counted_are_those_that_autograd_keeps(tiny_model_folder: Path, rank: int) -> None:
    """Of the layers: saved tensors that are no weights, each storage once, for 900 tokens without dropout."""
    from netllama.training.adapter import add_adapter

    base = load_base(tiny_model_folder, loading_params("fp32"))
    shape = read_shape(base)
    lora = LoraParams(
        r=rank,
        lora_alpha=8,
        lora_dropout=0.0,
        target_modules="all-linear",
        use_rslora=False,
        use_dora=False,
        init_lora_weights="default",
    )
    model: Any = add_adapter(base, lora, 1, tiny_model_folder)[0]
    from netllama.training.fused_blocks import use_fused_blocks
    from netllama.training.fused_lora import use_fused_layers

    use_fused_layers(model, torch.device("cpu"))
    use_fused_blocks(model)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.is_floating_point():
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        hidden = model.get_base_model().model(input_ids=torch.randint(2, 500, (1, 900)), use_cache=False)
    assert hidden.last_hidden_state.requires_grad
    counted = 900 * count_token_bytes(shape, Workload(rank=rank), 4)
    assert 0.6 * counted < sum(kept.values()) < 1.1 * counted


def test_auto_asks_the_devices_memory_where_there_is_one(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The decision alone, on a model of the CPU: what is measured is replaced."""
    model = load_base(tiny_model_folder, loading_params("fp32", "nf4", True, "packed"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for free, cached in ((0, False), (100 * GB, True)):
        monkeypatch.setattr(loading, "measure_free_memory", lambda free=free: free)
        params = loading_params("fp32", "nf4", True, "auto")
        assert loading.keeps_cached(model, params, Workload(), torch.float32) is cached
        assert ("weights: cached" if cached else "weights: packed") in capsys.readouterr().err
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert not loading.keeps_cached(model, loading_params("fp32", "nf4"), Workload(), torch.float32)
