"""LoRA layers, dropout masks and norms of a CPU, against PEFT's, transformers' and autograd of the plain formula."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.cpu_layers import dropout_pool
from netllama.cpu_layers.dropout_pool import DropoutPool
from netllama.cpu_layers.fast_blocks import GatedLoraLinear, RMSNorm, use_fast_blocks
from netllama.cpu_layers.fast_lora_layers import LoraLinear, use_fast_layers
from tests.support.adapters import adapted, assert_same, gradients_of

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = settings(max_examples=40, deadline=None)
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


def results(y: torch.Tensor, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """y, and the gradients of `inputs` for an upstream gradient that is the same at each call."""
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, inputs, upstream)]


def assert_near(found: list[torch.Tensor], expected: list[torch.Tensor], share: float) -> None:
    """No entry further off than `share` of the largest entry."""
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert (one.double() - other.double()).abs().max() <= share * other.abs().max()


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


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_a_lora_layer_of_a_gated_product_has_the_derivative_of_its_formula(bias: bool, masked: bool) -> None:
    draw = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=draw)

    gate, up, weight, a, b = normal(2, 3, 5), normal(2, 3, 5), normal(4, 5), normal(2, 5), normal(4, 2)
    mask = (normal(6, 5) > 0).double() if masked else None
    offset = normal(4) if bias else None
    trained = [value.requires_grad_() for value in (gate, up, a, b)]
    product = torch.nn.functional.silu(gate) * up
    dropped = product if mask is None else product * mask.view(2, 3, 5)
    plain = product @ weight.t() + 1.7 * dropped @ a.t() @ b.t()
    expected = results(plain if offset is None else plain + offset, *trained)
    found = results(GatedLoraLinear.apply(gate, up, mask, weight, offset, a, b, 1.7), *trained)
    # The gradients of A and B are in fp32.
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-6, atol=1e-6)


def test_the_gated_product_is_not_kept_for_the_backward_pass(tiny_model_folder: Path) -> None:
    """What a Llama's layers keep of the inner size are gate and up, and no third of it."""
    model = adapted(tiny_model_folder)
    use_fast_layers(model)
    use_fast_blocks(model)
    inner, layers = model.config.intermediate_size, model.config.num_hidden_layers
    kept: set[int] = set()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.shape[-1] == inner and tensor.numel() == IDS.numel() * inner:
            kept.add(tensor.data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(input_ids=IDS).logits
    assert logits.requires_grad
    assert len(kept) == 2 * layers


def test_a_first_layer_whose_input_needs_no_gradient_trains_like_any_other() -> None:
    layer = holder().layer
    weight, offset, a, b, scale = parts(layer)
    x = torch.randn(3, 5, 24)
    found = results(LoraLinear.apply(x, None, weight, offset, a, b, scale), a, b)
    assert_near(found, results(layer(x), a, b), 1e-5)


# --- layers of a model


def test_fast_layers_and_norms_change_neither_loss_nor_gradients(tiny_model_folder: Path) -> None:
    slow, fast = adapted(tiny_model_folder).train(), adapted(tiny_model_folder).train()
    assert use_fast_layers(fast) == []
    use_fast_blocks(fast)
    replaced = {type(module).__name__ for module in fast.modules() if "forward" in module.__dict__}
    assert replaced == {"Linear", "LlamaAttention", "LlamaMLP", "LlamaRMSNorm"}
    losses = [model(input_ids=IDS, labels=IDS).loss for model in (slow, fast)]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-6, atol=0)
    assert_same(gradients_of(fast, losses[1]), gradients_of(slow, losses[0]))


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


# --- dropout masks


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.5, 0.9])
def test_a_mask_keeps_the_share_it_should(rate: float) -> None:
    torch.manual_seed(0)
    mask = DropoutPool(rate, torch.bfloat16).mask(torch.Size((1000, 1000)))
    assert mask.dtype == torch.bfloat16
    assert mask.shape == (1000, 1000)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    kept = mask.double().mean().item()
    assert abs(kept - (1 - rate)) < 5 * (rate * (1 - rate) / 1e6) ** 0.5


@pytest.mark.parametrize(("rate", "dropped"), [(0.4, 0), (0.6, 1), (1.0, 1), (1.4, 1), (3.0, 3)])
def test_a_rate_is_met_to_the_next_65536th(rate: float, dropped: int) -> None:
    """In 2^23 entries a 65536th is 128, give or take 11."""
    torch.manual_seed(0)
    mask = DropoutPool(rate / 2**16, torch.float32).mask(torch.Size((2**23,)))
    found = int((mask == 0).sum())
    assert abs(found - 128 * dropped) <= 5 * (128 * dropped) ** 0.5


def test_the_entries_of_a_mask_are_independent() -> None:
    """All patterns of 8 neighbours, which two of the 64-bit numbers make up, are as frequent as they should be."""
    torch.manual_seed(0)
    for rate in (0.5, 0.2):
        mask = DropoutPool(rate, torch.float32).mask(torch.Size((250_000, 8)))
        patterns = (mask.long() << torch.arange(8)).sum(1)
        found = torch.bincount(patterns, minlength=256).double()
        ones = torch.tensor([bin(pattern).count("1") for pattern in range(256)])
        expected = len(mask) * (1 - rate) ** ones.double() * rate ** (8 - ones).double()
        chance = expected >= 5
        square = ((found - expected) ** 2 / expected)[chance].sum().item()
        freedom = int(chance.sum()) - 1
        assert abs(square - freedom) < 5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 8, 64, 1000, 312 * 4, 624 * 4])
def test_entries_some_places_apart_do_not_go_together(lag: int) -> None:
    """624 and 312 are periods in the generator's own state."""
    torch.manual_seed(1)
    mask = DropoutPool(0.5, torch.float32).mask(torch.Size((2**20,))) - 0.5
    correlation = 4 * (mask[lag:] * mask[:-lag]).mean().item()
    assert abs(correlation) < 5 / 2**10


def test_masks_follow_from_torchs_seed_and_change_with_each_refresh() -> None:
    shape = torch.Size((40, 50))
    pool = DropoutPool(0.5, torch.float32)

    def masks(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        pool.refresh()
        return [pool.mask(shape), pool.mask(shape)]

    first, again, other = masks(7), masks(7), masks(8)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(*first)
    assert not torch.equal(first[0], other[0])
    state = torch.get_rng_state()
    before = pool.mask(shape)
    pool.refresh()
    torch.set_rng_state(state)
    assert not torch.equal(pool.mask(shape), before)


@QUICK
@given(size=st.integers(1, 500), larger=st.integers(1, 500), seed=st.integers(0, 99))
def test_a_mask_depends_on_no_mask_before_it(size: int, larger: int, seed: int) -> None:
    """Not on their sizes either: of masks larger than the pool, as here, the pool is made to hold them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dropout_pool, "POOL", 64)
        torch.manual_seed(seed)
        pool = DropoutPool(0.5, torch.float32)
        state = torch.get_rng_state()
        first = pool.mask(torch.Size((size,)))
        assert len(first) == size
        assert len(pool.mask(torch.Size((larger,)))) == larger
        torch.set_rng_state(state)
        assert torch.equal(pool.mask(torch.Size((size,))), first)


# --- norms


def norms(epsilon: float) -> Any:
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    norm = LlamaRMSNorm(16, epsilon)
    norm.weight.data.uniform_(0.5, 1.5)
    return norm.requires_grad_(False)


@QUICK
@given(
    rows=st.integers(1, 5), size=st.floats(1e-3, 1e3), epsilon=st.sampled_from([1e-5, 1e-6]), seed=st.integers(0, 99)
)
def test_a_norm_gives_the_output_and_gradient_of_llamas(rows: int, size: float, epsilon: float, seed: int) -> None:
    torch.manual_seed(seed)
    norm = norms(epsilon)
    x = (size * torch.randn(2, rows, 16)).requires_grad_()
    assert_near(results(RMSNorm.apply(x, norm.weight, epsilon), x), results(norm(x), x), 1e-5)


def test_a_norm_in_bf16_rounds_where_llamas_does() -> None:
    torch.manual_seed(0)
    norm = norms(1e-6).bfloat16()
    x = torch.randn(4, 50, 16).bfloat16().requires_grad_()
    (y, gradient), (other, expected) = results(RMSNorm.apply(x, norm.weight, 1e-6), x), results(norm(x), x)
    assert torch.equal(y, other)
    assert gradient.dtype == torch.bfloat16
    assert_near([gradient], [expected], 0.01)


def test_the_backward_pass_of_a_norm_leaves_its_input_as_it_was_and_runs_twice() -> None:
    x = torch.randn(3, 16, requires_grad=True)
    before = x.detach().clone()
    y = RMSNorm.apply(x, torch.ones(16), 1e-6)
    first, again = (torch.autograd.grad(y.square().sum(), x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(x, before)
    assert torch.equal(first, again)


def test_a_norm_that_is_trained_keeps_its_own_way() -> None:
    norm = norms(1e-6)
    norm.weight.requires_grad_()
    use_fast_blocks(norm)
    assert "forward" not in norm.__dict__


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gated_layer_has_the_output_and_the_gradients_of_silu_times_up(dtype: torch.dtype) -> None:
    from netllama.cpu_layers.fast_blocks import Gated

    torch.manual_seed(0)
    values = [torch.randn(3, 5, 16).to(dtype).requires_grad_() for _ in range(2)]
    plain = [value.detach().clone().float().requires_grad_() for value in values]
    slope = torch.randn(3, 5, 16).to(dtype)
    found, expected = Gated.apply(*values), torch.nn.functional.silu(plain[0]) * plain[1]
    found.backward(slope)
    expected.backward(slope.float())
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 0.03, "atol": 0.03}
    torch.testing.assert_close(found.float(), expected, **tolerance)
    for value, reference in zip(values, plain, strict=True):
        torch.testing.assert_close(value.grad.float(), reference.grad, **tolerance)
