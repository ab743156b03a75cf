"""LoRA layers of a GPU against PEFT's, on the CPU in fp32: outputs and gradients, over plain and packed weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from netllama.core.tokenized_rows import TokenizedRow
from netllama.models.loading import load_base
from netllama.training import fused_blocks, fused_lora
from netllama.training.adapter import add_adapter
from netllama.training.fused_blocks import use_fused_blocks
from netllama.training.fused_lora import FusedLora, apply_fused, read_weight, use_fused_layers
from tests.support.training_runs import loading_params, lora_params, make_run

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
IDS = torch.randint(2, 500, (2, 24), generator=torch.Generator().manual_seed(1))


def adapted_model(folder: Path, form: str, fused: bool, monkeypatch: pytest.MonkeyPatch, **lora: Any) -> Any:
    """A tiny Llama with an adapter that adds to the output; `form` of its weights: none, packed or cached."""
    quantization, weights = ("none", "auto") if form == "none" else ("nf4", form)
    # The layers that load_base has for a CPU stand in the way of what is compared.
    monkeypatch.setattr("netllama.cpu_layers.fast_blocks.use_fast_blocks", lambda model: None)
    monkeypatch.setattr("netllama.cpu_layers.attention.use_cpu_attention", lambda model: None)
    base = load_base(folder, loading_params("fp32", quantization, True, weights))
    model = add_adapter(base, lora_params(**lora), 1, folder)[0]
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)
    if fused:
        use_fused_layers(model, CPU)
        use_fused_blocks(model)
    return model.train()


def loss_and_gradients(model: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    loss = model(input_ids=IDS, labels=IDS).loss
    loss.backward()
    return loss.detach(), {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"], ["down_proj"]])
@pytest.mark.parametrize("form", ["none", "packed", "cached"])
def test_fused_layers_have_the_loss_and_gradients_of_pefts(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, form: str, targets: str | list[str]
) -> None:
    (loss, found), (other, expected) = (
        loss_and_gradients(adapted_model(tiny_model_folder, form, fused, monkeypatch, target_modules=targets))
        for fused in (True, False)
    )
    torch.testing.assert_close(loss, other, atol=1e-5, rtol=1e-5)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient.any()
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-4)


def test_a_packed_weight_is_dequantized_once_forward_and_once_backward(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapted_model(tiny_model_folder, "packed", True, monkeypatch)
    read: list[Any] = []
    monkeypatch.setattr(fused_lora, "read_weight", lambda base, dtype: read.append(base) or read_weight(base, dtype))
    loss = model(input_ids=IDS, labels=IDS).loss
    assert len(read) == len(set(map(id, read))) == 2 * 7
    loss.backward()
    assert [read.count(base) for base in set(read)] == [2] * 14


def test_the_gradients_with_a_mask_are_those_of_the_formula() -> None:
    torch.manual_seed(2)
    bases = [torch.nn.Linear(12, width, bias=bias).requires_grad_(False) for width, bias in ((8, True), (20, False))]
    x = torch.randn(3, 5, 12, requires_grad=True)
    mask = (torch.rand(15, 12) > 0.3).float()
    matrices = [torch.randn(shape, requires_grad=True) for shape in ((4, 12), (8, 4), (2, 12), (20, 2))]
    scales = [0.5, 3.0]
    found = FusedLora.apply(x, mask, bases, scales, *matrices)
    dropped = x * mask.view(3, 5, 12)
    expected = [
        base(x) + scale * (dropped @ a.t() @ b.t())
        for base, scale, a, b in zip(bases, scales, matrices[::2], matrices[1::2], strict=True)
    ]
    slopes = [torch.randn(each.shape) for each in expected]
    for one, other in zip(
        [*found, *torch.autograd.grad(found, [x, *matrices], slopes)],
        [*expected, *torch.autograd.grad(expected, [x, *matrices], slopes)],
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_dropout_drops_the_share_it_should_only_in_training_and_alike_for_layers_of_one_input(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapted_model(tiny_model_folder, "none", True, monkeypatch, lora_dropout=0.25)
    attention = model.get_base_model().model.layers[0].self_attn
    masks: list[torch.Tensor] = []
    pool = attention.q_proj.fused_pool
    monkeypatch.setattr(pool, "mask", lambda shape, draw=pool.mask: masks.append(draw(shape)) or masks[-1])
    apply_fused([attention.q_proj, attention.k_proj, attention.v_proj], torch.randn(100, 64))
    assert len(masks) == 1
    assert float(masks[0].mean()) == pytest.approx(0.75, abs=0.03)
    model.eval()
    apply_fused([attention.q_proj], torch.randn(100, 64))
    assert len(masks) == 1


def test_disabled_adapters_add_nothing_and_merely_adapted_layers_of_other_kinds_stay(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapted_model(tiny_model_folder, "none", True, monkeypatch)
    plain = load_base(tiny_model_folder, loading_params("fp32"))
    with model.disable_adapter(), torch.no_grad():
        torch.testing.assert_close(model(input_ids=IDS).logits, plain(input_ids=IDS).logits, atol=1e-5, rtol=1e-5)
    dora = adapted_model(tiny_model_folder, "none", True, monkeypatch, use_dora=True)
    assert not any(hasattr(module, "fused_pool") for module in dora.modules())


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_checkpointed_layers_draw_their_masks_again(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    found = []
    for checkpointing in (False, True):
        model = adapted_model(tiny_model_folder, "packed", True, monkeypatch, lora_dropout=rate)
        if checkpointing:
            model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
        torch.manual_seed(7)
        for pool in {id(m.fused_pool): m.fused_pool for m in model.modules() if hasattr(m, "fused_pool")}.values():
            pool.refresh()
        found.append(loss_and_gradients(model))
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-5)


def test_a_gpus_run_on_the_cpu_trains(
    tiny_model_folder: Path, tokenized_rows: Callable[..., list[TokenizedRow]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything of a GPU's training but its kernels: fused layers, packed weights, rows end to end, dropout."""
    from netllama.training.packed_attention import use_packed_attention

    monkeypatch.setattr("netllama.cpu_layers.fast_blocks.use_fast_blocks", lambda model: None)
    monkeypatch.setattr("netllama.cpu_layers.attention.use_cpu_attention", lambda model: None)
    monkeypatch.setattr("netllama.training.setup.use_fast_layers", lambda model: use_fused_layers(model, CPU))
    rows = tokenized_rows(4)
    run = make_run(
        tiny_model_folder,
        rows,
        rows,
        lora={"lora_dropout": 0.1},
        quantization="nf4",
        quantized_weights="packed",
        max_steps=40,
        gradient_checkpointing=True,
        learning_rate=0.003,
    )
    use_fused_blocks(run.inner.model)
    use_packed_attention(run.inner.model.get_base_model())
    run.batches.packed_tokens = run.inner.packed_tokens = 64
    assert len(run.inner.pools) == 1
    run.fit()
    assert run.state.val_loss[-1]["loss"] < 0.9 * run.state.val_loss[0]["loss"]


def test_liger_kernels_are_taken_only_with_a_gpu_and_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_blocks, "load_liger", lambda: "liger")
    for has_cuda, installed, name in ((True, True, "liger"), (True, False, "torch"), (False, True, "torch")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_cuda=has_cuda: has_cuda)
        monkeypatch.setattr(fused_blocks, "find_spec", lambda module, installed=installed: installed or None)
        chosen: Any = fused_blocks.choose_kernels()
        assert (chosen if isinstance(chosen, str) else chosen.name) == name
