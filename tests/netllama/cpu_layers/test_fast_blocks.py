"""Norms, gates and rotated attention of a CPU, against transformers' and autograd of the plain formula."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.cpu_layers.attention import use_cpu_attention
from netllama.cpu_layers.fast_blocks import Gated, GatedLoraLinear, RMSNorm, Rotary, use_fast_blocks
from netllama.cpu_layers.fast_lora_layers import use_fast_layers
from tests.support.adapters import adapted, assert_near, assert_same, gradients_of, results

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = settings(max_examples=40)
IDS = torch.randint(2, 600, (3, 17), generator=torch.Generator().manual_seed(5))


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


def test_fast_layers_and_norms_change_neither_loss_nor_gradients(tiny_model_folder: Path) -> None:
    slow, fast = adapted(tiny_model_folder).train(), adapted(tiny_model_folder).train()
    assert use_fast_layers(fast) == []
    use_fast_blocks(fast)
    replaced = {type(module).__name__ for module in fast.modules() if "forward" in module.__dict__}
    assert replaced == {"Linear", "LlamaAttention", "LlamaMLP", "LlamaRMSNorm"}
    losses = [model(input_ids=IDS, labels=IDS).loss for model in (slow, fast)]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-6, atol=0)
    assert_same(gradients_of(fast, losses[1]), gradients_of(slow, losses[0]))


# --- rotation


def angles(length: int, size: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    turned = torch.arange(length)[None, :, None] * 0.7 ** torch.arange(size // 2)
    both = torch.cat((turned, turned), -1).double()
    return both.cos().to(dtype), both.sin().to(dtype)


@QUICK
@given(
    rows=st.integers(1, 3),
    length=st.integers(1, 9),
    heads=st.integers(1, 4),
    half=st.integers(1, 5),
    scale=st.sampled_from([1.0, 0.125, 0.3]),
)
def test_a_rotation_gives_the_output_and_gradient_of_llamas(
    rows: int, length: int, heads: int, half: int, scale: float
) -> None:
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    x = torch.randn(rows, length, heads * 2 * half, requires_grad=True)
    by_head = x.view(rows, length, heads, 2 * half).transpose(1, 2)
    expected, _ = apply_rotary_pos_emb(by_head, by_head, *angles(length, 2 * half))
    found = Rotary.apply(x, *angles(length, 2 * half), scale)
    assert found.is_contiguous()
    assert_near(results(found, x), results(scale * expected, x), 1e-5)


def test_a_rotation_has_the_derivative_of_its_formula() -> None:
    x = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: Rotary.apply(x, *angles(3, 4, torch.float64), 0.3), x)


def test_a_rotation_in_bf16_is_as_near_to_fp32_as_llamas() -> None:
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    torch.manual_seed(0)
    x = torch.randn(2, 50, 24).bfloat16()
    by_head = x.view(2, 50, 3, 8).transpose(1, 2)
    cos, sin = angles(50, 8, torch.bfloat16)
    exact, _ = apply_rotary_pos_emb(by_head.double(), by_head.double(), cos.double(), sin.double())
    llamas, _ = apply_rotary_pos_emb(by_head, by_head, cos, sin)
    found = Rotary.apply(x, cos, sin, 1.0)
    assert found.dtype == torch.bfloat16
    assert (found.double() - exact).norm() <= (llamas.double() - exact).norm()


# --- a model


@pytest.fixture(params=["sdpa", "grouped"])
def models(request: pytest.FixtureRequest, tiny_model_folder: Path) -> tuple[Any, Any]:
    """The tiny model with LoRA as the libraries have it, and with fast blocks and layers, attending in both ways."""
    slow, fast = adapted(tiny_model_folder).eval(), adapted(tiny_model_folder).eval()
    if request.param == "grouped":
        use_cpu_attention(fast.get_base_model())
    use_fast_layers(fast)
    use_fast_blocks(fast)
    return slow, fast


def test_fast_blocks_change_neither_loss_nor_gradients_of_rows_with_padding_on_the_left(
    models: tuple[Any, Any],
) -> None:
    slow, fast = models
    mask = torch.ones_like(IDS)
    mask[1, :5] = 0
    labels = IDS.clone()
    # Up to the first real token, which padding comes before: what padding predicts is nobody's business.
    labels[1, :6] = -100
    losses = [model(input_ids=IDS, attention_mask=mask, labels=labels).loss for model in models]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=0)
    assert_same(gradients_of(fast, losses[1]), gradients_of(slow, losses[0]))


def test_fast_blocks_decode_with_a_cache_as_the_library_does(models: tuple[Any, Any]) -> None:
    """First many tokens, then one, then two."""
    outputs = []
    for model in models:
        cache, logits = None, []
        for start, end in ((0, 12), (12, 13), (13, 15)):
            output = model(input_ids=IDS[:, start:end], past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            logits.append(output.logits)
        outputs.append(torch.cat(logits, 1))
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)


def test_the_input_of_queries_keys_and_values_is_dropped_once_and_that_of_gate_and_up(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapted(tiny_model_folder, lora_dropout=0.5).train()
    (pool,) = use_fast_layers(model)
    use_fast_blocks(model)
    masks: list[torch.Tensor] = []
    draw = pool.mask
    monkeypatch.setattr(pool, "mask", lambda shape: masks.append(draw(shape)) or masks[-1])
    model(input_ids=IDS)
    # Queries with keys and values, the attention's output, gate with up, down: of each layer.
    assert len(masks) == 4 * model.config.num_hidden_layers
    assert len({tuple(mask.flatten()[:800].tolist()) for mask in masks}) == len(masks)


@pytest.mark.parametrize("targets", [["down_proj"], ["q_proj", "up_proj"], ["v_proj", "o_proj", "gate_proj"]])
def test_lora_on_some_layers_only_has_the_gradients_of_pefts(targets: list[str], tiny_model_folder: Path) -> None:
    slow, fast = (adapted(tiny_model_folder, target_modules=targets).train() for _ in range(2))
    use_fast_layers(fast)
    use_fast_blocks(fast)
    losses = [model(input_ids=IDS, labels=IDS).loss for model in (slow, fast)]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-6, atol=0)
    assert_same(gradients_of(fast, losses[1]), gradients_of(slow, losses[0]))


def test_frozen_weights_get_no_gradient(tiny_model_folder: Path) -> None:
    model = adapted(tiny_model_folder).train()
    use_fast_layers(model)
    use_fast_blocks(model)
    model(input_ids=IDS, labels=IDS).loss.backward()
    with_gradient = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert with_gradient == {name for name, _ in model.named_parameters() if ".lora_" in name}
