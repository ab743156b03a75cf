"""Blocked causal attention against torch's own, and in a model against the library's way."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.cpu_layers import attention
from netllama.cpu_layers.attention import BLOCK, CausalAttention, attend_masked, use_cpu_attention
from tests.support.adapters import adapted, assert_same, gradients_of

pytestmark = pytest.mark.usefixtures("one_thread")
SCALE = 0.3


def normal(length: int, heads: int, pairs: int, size: int = 8, batch: int = 2, **options: Any) -> list[torch.Tensor]:
    """Q, K and V as a model has them: heads and positions swapped in memory."""
    draw = torch.Generator().manual_seed(length)
    shapes = [(batch, length, number, size) for number in (heads, pairs, pairs)]
    return [torch.randn(shape, generator=draw, **options).transpose(1, 2).requires_grad_() for shape in shapes]


def results(y: torch.Tensor, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, inputs, upstream)]


def own(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=SCALE, enable_gqa=True
    )


def blocked(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    attended: torch.Tensor = CausalAttention.apply(query * SCALE, key, value)
    return attended.transpose(1, 2)


def assert_as_torchs(inputs: list[torch.Tensor]) -> None:
    found = results(blocked(*inputs), inputs)
    for one, other in zip(found, results(own(*inputs), inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 3, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1, 300])
@pytest.mark.parametrize("group", [1, 3])
def test_outputs_and_gradients_are_those_of_torch(length: int, group: int) -> None:
    assert_as_torchs(normal(length, 2 * group, 2))


@settings(max_examples=60)
@given(
    length=st.integers(1, 30),
    block=st.integers(1, 12),
    pairs=st.integers(1, 3),
    group=st.integers(1, 4),
    batch=st.integers(1, 3),
)
def test_so_they_are_for_any_length_block_and_layout_of_heads(
    length: int, block: int, pairs: int, group: int, batch: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "BLOCK", block)
        assert_as_torchs(normal(length, pairs * group, pairs, batch=batch))


@pytest.mark.parametrize("group", [1, 3])
def test_attention_has_the_derivative_of_its_formula(group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BLOCK", 3)
    inputs = normal(7, 2 * group, 2, size=3, dtype=torch.float64)
    assert torch.autograd.gradcheck(blocked, inputs)


def test_in_bf16_it_is_as_near_to_fp32_as_torchs_is() -> None:
    exact = normal(200, 6, 2)
    half = [tensor.detach().bfloat16().requires_grad_() for tensor in exact]
    expected = results(own(*exact), exact)
    torchs = results(own(*half), half)
    found = results(blocked(*half), half)
    for one, other, true in zip(found, torchs, expected, strict=True):
        assert one.dtype == torch.bfloat16
        assert (one - true).norm() < 1.5 * (other - true).norm() + 1e-3 * true.norm()


@pytest.mark.parametrize("changed", [1, BLOCK - 1, BLOCK, 150, 199])
def test_no_position_sees_a_later_one(changed: int) -> None:
    query, key, value = (tensor.detach() for tensor in normal(200, 6, 2))
    before = blocked(query, key, value)
    key, value = key.clone(), value.clone()
    key[:, :, changed:] += 100
    value[:, :, changed:] -= 100
    after = blocked(query, key, value)
    assert torch.equal(after[:, :, :changed], before[:, :, :changed])
    assert not torch.isclose(after[:, :, changed:], before[:, :, changed:]).all(-1).any()


# --- in a model


class Calls:
    """Counts how often attention goes the blocked way."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.apply_blocked = CausalAttention.apply

    def apply(self, query: torch.Tensor, *others: Any) -> Any:
        self.lengths.append(query.shape[2])
        return self.apply_blocked(query, *others)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    monkeypatch.setattr(attention, "CausalAttention", calls)
    return calls


@pytest.fixture
def models(tiny_model_folder: Path) -> tuple[Any, Any]:
    """The tiny model with LoRA as the library has it, and the same one attending in blocks."""
    slow, fast = adapted(tiny_model_folder).eval(), adapted(tiny_model_folder).eval()
    use_cpu_attention(fast.get_base_model())
    return slow, fast


def ids(rows: int, length: int) -> torch.Tensor:
    return torch.randint(2, 600, (rows, length), generator=torch.Generator().manual_seed(length))


@pytest.mark.parametrize(("rows", "length"), [(1, 5), (3, 40), (2, BLOCK + 1)])
def test_a_model_has_the_same_logits_and_gradients(
    models: tuple[Any, Any], calls: Calls, rows: int, length: int
) -> None:
    slow, fast = models
    batch = ids(rows, length)
    expected, found = (model(input_ids=batch, labels=batch, use_cache=False) for model in models)
    assert calls.lengths == [length] * 2
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)
    assert_same(gradients_of(fast, found.loss), gradients_of(slow, expected.loss))


@settings(max_examples=60)
@given(
    queries=st.integers(1, 9),
    past=st.integers(0, 9),
    pairs=st.integers(1, 3),
    group=st.integers(1, 4),
    batch=st.integers(1, 3),
    form=st.sampled_from(["bool", "shared", "float", "none"]),
    block=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_masked_attention_is_torchs_for_any_mask_block_and_layout_of_heads(
    queries: int, past: int, pairs: int, group: int, batch: int, form: str, block: int, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    query = torch.randn(batch, queries, pairs * group, 8, generator=draw).transpose(1, 2)
    key, value = (torch.randn(batch, pairs, past + queries, 8, generator=draw) for _ in range(2))
    rows = 1 if form == "shared" else batch
    mask: Any = torch.rand(rows, 1, queries, past + queries, generator=draw) < 0.6
    mask[..., 0] = True
    mask &= torch.ones(queries, past + queries, dtype=torch.bool).tril(past)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=None if form == "none" else mask, scale=SCALE, enable_gqa=True
    )
    if form == "float":
        mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "BLOCK", block)
        found = attend_masked(query * SCALE, key, value, None if form == "none" else mask)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_masked_attention_in_bf16_is_as_near_to_fp32_as_torchs_is() -> None:
    query, key, value = (tensor.detach() for tensor in normal(200, 6, 2))
    mask = torch.ones(200, 200, dtype=torch.bool).tril()[None, None]

    def torchs(*inputs: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(*inputs, attn_mask=mask, scale=SCALE, enable_gqa=True)

    half = [tensor.bfloat16() for tensor in (query, key, value)]
    found, other, true = attend_masked(half[0] * SCALE, *half[1:], mask), torchs(*half), torchs(query, key, value)
    assert found.dtype == torch.bfloat16
    assert (found - true).norm() < 1.5 * (other - true).norm() + 1e-3 * true.norm()


def test_padding_on_the_left_changes_no_real_position(models: tuple[Any, Any], calls: Calls) -> None:
    batch, mask = ids(2, 12), torch.ones(2, 12, dtype=torch.long)
    mask[1, :4] = 0
    expected, found = (model(input_ids=batch, attention_mask=mask).logits for model in models)
    assert calls.lengths == []
    torch.testing.assert_close(found[mask.bool()], expected[mask.bool()], rtol=1e-4, atol=1e-5)


def test_a_model_that_attends_in_another_way_keeps_it(tiny_model_folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder, attn_implementation="eager")
    use_cpu_attention(model)
    assert model.config._attn_implementation == "eager"


def test_a_model_with_a_scale_of_its_own_keeps_it(calls: Calls) -> None:
    from transformers import GraniteConfig, GraniteForCausalLM

    torch.manual_seed(0)
    config = GraniteConfig(
        vocab_size=600,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention_multiplier=3.0,
        initializer_range=0.5,
    )
    model = GraniteForCausalLM(config).eval()
    expected = model(input_ids=ids(2, 12), use_cache=False).logits
    use_cpu_attention(model)
    found = model(input_ids=ids(2, 12), use_cache=False).logits
    assert calls.lengths == [12]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("length", "ways"), [(20, 2), (21, 0), (1, 0)])
def test_rows_too_long_or_of_one_token_go_the_librarys_way(
    models: tuple[Any, Any], calls: Calls, monkeypatch: pytest.MonkeyPatch, length: int, ways: int
) -> None:
    monkeypatch.setattr(attention, "LONGEST", 20)
    expected, found = (model(input_ids=ids(2, length), use_cache=False).logits for model in models)
    assert len(calls.lengths) == ways
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_decoding_with_a_cache_gives_the_logits_of_the_library(models: tuple[Any, Any], calls: Calls) -> None:
    """Two tokens at once too, whose queries are fewer than the keys."""
    batch = ids(2, 12)
    outputs = []
    for model in models:
        calls.lengths.clear()
        cache, logits = None, []
        for start, end in ((0, 9), (9, 10), (10, 12)):
            output = model(input_ids=batch[:, start:end], past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            logits.append(output.logits)
        outputs.append(torch.cat(logits, 1))
    assert calls.lengths == [9, 9]
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)


def test_padding_on_the_right_changes_no_real_position(models: tuple[Any, Any]) -> None:
    _, fast = models
    row = ids(1, 30)
    padded = torch.cat([row, torch.zeros(1, 110, dtype=torch.long)], 1)
    alone, beside = (fast(input_ids=batch, use_cache=False).logits[:, :30] for batch in (row, padded))
    torch.testing.assert_close(beside, alone, rtol=1e-4, atol=1e-5)
