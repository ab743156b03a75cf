"""LoRA layers of a CPU, against PEFT's and autograd of the plain formula."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.cpu_layers.fast_lora_layers import LoraLinear, apply_together, use_fast_layers
from tests.support.adapters import adapted, assert_near, assert_same, gradients_of, results

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = settings(max_examples=40)
IDS = torch.randint(2, 600, (3, 17), generator=torch.Generator().manual_seed(5))


def holder(bias: bool = False, inputs: int = 24, outputs: int = 40, **lora: Any) -> Any:
    """A module of one linear layer with PEFT's LoRA on it, A and B drawn at random."""
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(1)
    module = torch.nn.Sequential(OrderedDict(layer=torch.nn.Linear(inputs, outputs, bias)))
    config = LoraConfig(**{"r": 4, "lora_alpha": 12, "target_modules": ["layer"], "init_lora_weights": False} | lora)
    inject_adapter_in_model(config, module)
    return module


def parts(layer: Any) -> tuple[Any, Any, Any, Any, float]:
    """W, bias, A, B and the scale of PEFT's layer."""
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    return layer.base_layer.weight, layer.base_layer.bias, a, b, layer.scaling["default"]


# --- LoraLinear


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(7, 24), (3, 5, 24)])
def test_a_lora_layer_gives_the_output_and_gradients_of_pefts(bias: bool, shape: tuple[int, ...]) -> None:
    layer = holder(bias).layer
    weight, offset, a, b, scale = parts(layer)
    x = torch.randn(shape, requires_grad=True)
    expected = results(layer(x), x, a, b)
    found = results(LoraLinear.apply(x, None, weight, offset, a, b, scale), x, a, b)
    assert_near(found, expected, 1e-5)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_a_lora_layer_in_bf16_is_as_near_to_fp32_as_bf16_is(bias: bool, masked: bool) -> None:
    """8 bits of mantissa: 2^-8 of a sum of 24 to 40 terms, and a few roundings in a row."""
    layer = holder(bias).layer
    weight, offset, a, b, scale = parts(layer)
    weight, offset = weight.bfloat16(), None if offset is None else offset.bfloat16()
    x = torch.randn(3, 5, 24).bfloat16()
    mask = (torch.rand(15, 24) > 0.3).bfloat16() if masked else None
    exact_x = x.float().requires_grad_()
    exact = exact_x @ weight.float().t() + (0 if offset is None else offset.float())
    dropped = exact_x if mask is None else exact_x * mask.float().view(3, 5, 24)
    expected = results((exact + scale * dropped @ a.t() @ b.t()), exact_x, a, b)
    x.requires_grad_()
    found = results(LoraLinear.apply(x, mask, weight, offset, a, b, scale), x, a, b)
    assert [result.dtype for result in found] == [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32]
    assert_near(found, expected, 0.02)


@QUICK
@given(
    rows=st.integers(1, 9),
    inputs=st.integers(1, 9),
    outputs=st.integers(1, 9),
    rank=st.integers(1, 4),
    masked=st.booleans(),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_lora_layer_has_the_derivative_of_its_formula(
    rows: int, inputs: int, outputs: int, rank: int, masked: bool, bias: bool, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=draw)

    x, weight, a, b = normal(rows, inputs), normal(outputs, inputs), normal(rank, inputs), normal(outputs, rank)
    mask = (normal(rows, inputs) > 0).double() if masked else None
    offset = normal(outputs) if bias else None
    for trained in (x, a, b):
        trained.requires_grad_()
    found = LoraLinear.apply(x, mask, weight, offset, a, b, 1.7)
    plain = x @ weight.t() + 1.7 * ((x if mask is None else x * mask) @ a.t()) @ b.t()
    torch.testing.assert_close(found, plain if offset is None else plain + offset)
    assert torch.autograd.gradcheck(
        lambda x, a, b: LoraLinear.apply(x, mask, weight, offset, a, b, 1.7), (x, a, b), atol=1e-4
    )


def test_a_first_layer_whose_input_needs_no_gradient_trains_like_any_other() -> None:
    layer = holder().layer
    weight, offset, a, b, scale = parts(layer)
    x = torch.randn(3, 5, 24)
    found = results(LoraLinear.apply(x, None, weight, offset, a, b, scale), a, b)
    assert_near(found, results(layer(x), a, b), 1e-5)


# --- layers of one input


def beside(count: int, **lora: Any) -> Any:
    """As `holder`, `count` layers of 24 inputs and of 40, 41, ... outputs, which may read the same input."""
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(1)
    module = torch.nn.ModuleList(torch.nn.Linear(24, 40 + at, bias=at == 1) for at in range(count))
    names = [str(at) for at in range(count)]
    config = LoraConfig(**{"r": 4, "lora_alpha": 12, "target_modules": names, "init_lora_weights": False} | lora)
    inject_adapter_in_model(config, module)
    return module


def trained(modules: Any) -> list[torch.Tensor]:
    return [weight for weight in modules.parameters() if weight.requires_grad]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("of_input", [False, True])
def test_layers_of_one_input_give_the_outputs_and_gradients_of_pefts(count: int, of_input: bool) -> None:
    slow, fast = beside(count), beside(count)
    assert use_fast_layers(fast) == []
    x = torch.randn(3, 5, 24, requires_grad=of_input)
    wanted = [x] if of_input else []
    expected = results(torch.cat([layer(x) for layer in slow], -1), *wanted, *trained(slow))
    found = results(torch.cat(apply_together(list(fast), x), -1), *wanted, *trained(fast))
    assert_near(found, expected, 1e-5)


def test_layers_of_one_input_share_a_mask_and_have_the_derivative_of_their_formula() -> None:
    modules = beside(3, lora_dropout=0.4).train()
    (pool,) = use_fast_layers(modules)
    torch.manual_seed(6)
    state = torch.get_rng_state()
    mask = pool.mask(torch.Size((15, 24))).view(3, 5, 24)
    torch.set_rng_state(state)
    x = torch.randn(3, 5, 24, generator=torch.Generator().manual_seed(7)).requires_grad_()
    plain = []
    for layer in modules:
        weight, offset, a, b, scale = parts(layer)
        low = scale / 0.6 * (x * mask) @ a.t() @ b.t()
        plain.append(x @ weight.t() + low + (0 if offset is None else offset))
    expected = results(torch.cat(plain, -1), x, *trained(modules))
    found = results(torch.cat(apply_together(list(modules), x), -1), x, *trained(modules))
    assert 0 < mask.mean() < 1
    assert_near(found, expected, 1e-5)


def test_only_some_of_the_outputs_may_be_used() -> None:
    slow, fast = beside(3), beside(3)
    use_fast_layers(fast)
    x = torch.randn(5, 24, requires_grad=True)
    expected = results(slow[1](x), x, *trained(slow[1]))
    assert_near(results(apply_together(list(fast), x)[1], x, *trained(fast[1])), expected, 1e-5)


@pytest.mark.parametrize("other", [{"lora_dropout": 0.5}, {"use_dora": True}])
def test_layers_that_differ_in_kind_or_dropout_go_one_by_one(other: dict[str, Any]) -> None:
    first, second = holder(), holder(**other)
    use_fast_layers(torch.nn.ModuleList([first, second]))
    x = torch.randn(3, 24)
    torch.manual_seed(8)
    found = apply_together([first.layer, second.layer], x)
    torch.manual_seed(8)
    for one, layer in zip(found, (first.layer, second.layer), strict=True):
        torch.testing.assert_close(one, layer(x))


# --- layers of a model


def test_a_fast_layer_drops_out_in_training_only() -> None:
    slow, fast = holder(lora_dropout=0.5), holder(lora_dropout=0.5)
    (pool,) = use_fast_layers(fast)
    assert pool.rate == 0.5
    x = torch.randn(3, 5, 24)
    torch.testing.assert_close(fast.eval()(x), slow.eval()(x))
    assert not torch.allclose(fast.train()(x), slow.eval()(x), atol=0.1)


def test_the_mean_over_many_masks_is_the_output_without_dropout() -> None:
    module = holder(lora_dropout=0.3)
    use_fast_layers(module)
    row = torch.randn(24)
    torch.manual_seed(3)
    outputs = module.train()(row.expand(20_000, 24))
    error = outputs.std(0) / len(outputs) ** 0.5
    assert error.min() > 0
    assert ((outputs.mean(0) - module.eval()(row)).abs() < 5 * error).all()


def test_each_layer_has_a_mask_of_its_own(tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted(tiny_model_folder, lora_dropout=0.5).train()
    (pool,) = use_fast_layers(model)
    masks = []
    draw = pool.mask
    monkeypatch.setattr(pool, "mask", lambda shape: masks.append(draw(shape)) or masks[-1])
    model(input_ids=IDS)
    assert len(masks) == 14
    starts = [tuple(mask.flatten()[:1000].tolist()) for mask in masks]
    assert len(set(starts)) == 14


def test_a_checkpointed_layer_that_runs_again_gets_its_mask_again(tiny_model_folder: Path) -> None:
    """Masks of two sizes, so that the pool grows between a layer's first run and its second."""

    def gradients(checkpointing: bool) -> dict[str, torch.Tensor]:
        model = adapted(tiny_model_folder, lora_dropout=0.3).train()
        (pool,) = use_fast_layers(model)
        if checkpointing:
            model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
        torch.manual_seed(4)
        pool.refresh()
        return gradients_of(model, model(input_ids=IDS, labels=IDS, use_cache=False).loss)

    assert_same(gradients(True), gradients(False))


def packed() -> Any:
    """LoRA on a layer of packed weights, as it is where PEFT's own class for them doesn't apply."""
    import bitsandbytes

    module = holder()
    module.layer.base_layer = bitsandbytes.nn.Linear4bit(24, 40, bias=False)
    return module


def trained_base() -> Any:
    module = holder()
    module.layer.base_layer.weight.requires_grad_()
    return module


def without_adapter() -> Any:
    module = holder()
    module.layer.set_adapter([])
    return module


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: holder(use_dora=True), id="DoRA"),
        pytest.param(lambda: holder(bias=True, lora_bias=True), id="bias of LoRA"),
        packed,
        trained_base,
        without_adapter,
    ],
)
def test_layers_of_another_kind_go_on_as_peft_has_them(make: Any) -> None:
    module = make()
    assert use_fast_layers(module) == []
    assert "forward" not in module.layer.__dict__


def test_a_model_in_four_bits_goes_on_as_peft_has_it(tiny_model_folder: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    base = AutoModelForCausalLM.from_pretrained(tiny_model_folder, quantization_config=quantization)
    model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", lora_dropout=0.1))
    layers = [module for module in model.modules() if type(module).__name__ == "Linear4bit"]
    assert layers
    assert use_fast_layers(model) == []
    assert not any("forward" in module.__dict__ for module in model.modules())
