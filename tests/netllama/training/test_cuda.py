"""QLoRA on a CUDA device: every precision trains, packed weights stay in 4 bits, gradients reach every layer.

Its fused layers, attention of packed rows and prefetched batches against padded rows and PEFT's layers on the CPU.
"""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState

from netllama.core.tokenized_rows import TokenizedRow
from netllama.models.loading import choose_precision, load_base
from netllama.training.checkpoints import Checkpoints
from tests.support.clones import ROOT
from tests.support.tokenized_tables import write_tokenized_rows
from tests.support.training_runs import (
    killed_after,
    loading_params,
    lora_params,
    make_run,
    prompt_params,
    randomize,
    train_params,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
Rows = list[TokenizedRow]


def four_bit_layers(model: Any) -> list[Any]:
    import bitsandbytes as bnb

    return [module for module in model.modules() if isinstance(module, bnb.nn.Linear4bit)]


def assert_packed(model: Any) -> None:
    """Two weights in a byte, on the device, with their quantization state: 2 layers of 7 linear modules."""
    layers = four_bit_layers(model)
    assert len(layers) == 2 * 7
    for layer in layers:
        assert layer.weight.device.type == "cuda"
        assert layer.weight.dtype == torch.uint8
        assert layer.weight.numel() * 2 == layer.in_features * layer.out_features
        assert layer.weight.quant_state.quant_type == "nf4"
        assert not layer.weight.requires_grad


def needs(precision: str) -> None:
    if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this CUDA device has no bf16")


def packed_run(
    folder: Path,
    tokenized_rows: Callable[..., Rows],
    precision: str,
    rows: Rows | None = None,
    validation: Rows | None = None,
    quantization: str = "nf4",
    quantized_weights: str = "packed",
    **train: Any,
) -> Any:
    """A run of three steps of two batches, with the paged optimizer unless it is said otherwise."""
    defaults = {"max_steps": 3, "gradient_accumulation_steps": 2, "optim": "paged_adamw_32bit", "learning_rate": 0.003}
    return make_run(
        folder,
        rows or tokenized_rows(12),
        validation or tokenized_rows(3, seed=1),
        precision=precision,
        quantization=quantization,
        quantized_weights=quantized_weights,
        **defaults | train,
    )


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_the_model_is_loaded_onto_the_device(tiny_model_folder: Path, quantization: str) -> None:
    model = load_base(tiny_model_folder, loading_params("fp16", quantization, True, "packed"))
    assert {weight.device.type for weight in model.parameters()} == {"cuda"}
    assert model.device.type == "cuda"
    assert not model.training
    if quantization == "nf4":
        assert_packed(model)
    else:
        assert not four_bit_layers(model)


def test_auto_takes_bf16_where_the_device_has_it_and_fp16_elsewhere() -> None:
    expected = torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16
    assert choose_precision("auto") == expected


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_three_steps_of_packed_qlora_move_every_lora_layer_and_nothing_else(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], precision: str, gradient_checkpointing: bool
) -> None:
    """With the paged optimizer, and validation between all steps: eval() must not change what training does."""
    needs(precision)
    run = packed_run(
        tiny_model_folder, tokenized_rows, precision, gradient_checkpointing=gradient_checkpointing, eval_steps=1
    )
    model = run.inner.model
    assert {weight.device.type for weight in model.parameters()} == {"cuda"}
    randomize(run)
    before = {name: weight.data.clone() for name, weight in model.named_parameters()}
    run.fit()

    assert_packed(model)
    assert (run.accelerator.scaler is not None) == (precision == "fp16")
    trainable = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trainable == {name for name in before if "lora_" in name}
    for name, weight in model.named_parameters():
        if name in trainable:
            assert weight.dtype == torch.float32
            assert torch.isfinite(weight).all(), name
            assert not torch.equal(weight.data, before[name]), f"{name} was not trained"
        else:
            assert torch.equal(weight.data, before[name]), f"{name} is frozen and has changed"
    assert [entry["step"] for entry in run.state.loss] == [1, 2, 3]
    assert [entry["step"] for entry in run.state.val_loss] == [0, 1, 2, 3]


@pytest.mark.parametrize("optim", ["paged_adamw_32bit", "paged_adamw_8bit", "adamw_torch_fused"])
def test_training_lowers_the_loss_of_what_it_trains_on(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], optim: str
) -> None:
    rows = tokenized_rows(4)
    for precision in ("fp16", "bf16"):
        needs(precision)
        run = packed_run(
            tiny_model_folder, tokenized_rows, precision, rows=rows, validation=rows, optim=optim, max_steps=40
        )
        randomize(run)
        run.fit()
        assert run.state.val_loss[-1]["loss"] < 0.9 * run.state.val_loss[0]["loss"], precision
        AcceleratorState._reset_state()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_rows_that_go_together_have_the_loss_and_gradients_of_rows_read_alone_by_transformers(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], precision: str
) -> None:
    """Ours, padded in fp32 and on devices before Ampere, else laid end to end; transformers' in fp32."""
    needs(precision)
    run = packed_run(tiny_model_folder, tokenized_rows, precision)
    randomize(run)
    run.model.train()
    input_ids, labels, packing = run.batches.collate(run.rows[:4])
    is_padded = precision == "fp32" or torch.cuda.get_device_capability()[0] < 8
    assert (packing is None) == is_padded
    scale = 1024.0 if precision == "fp16" else 1.0
    trained = sum(row.trained_tokens for row in run.rows[:4])
    loss = run.model(input_ids, labels, scale / trained, packing)
    loss.backward()
    found = {name: weight.grad / scale for name, weight in run.weights}
    AcceleratorState._reset_state()
    plain = packed_run(tiny_model_folder, tokenized_rows, "fp32")
    randomize(plain)
    model = plain.inner.model.train()
    model.get_base_model().set_attn_implementation("sdpa")
    total = torch.zeros((), device=model.device)
    for row in run.rows[:4]:
        ids = torch.tensor([row.input_ids], device=model.device)
        logits = model(input_ids=ids, use_cache=False).logits[0, row.loss_start - 1 : -1]
        total = total + torch.nn.functional.cross_entropy(logits, ids[0, row.loss_start :], reduction="sum")
    (total / trained).backward()
    # 8 bits of mantissa in bf16, 11 in fp16: of the largest entry of each gradient.
    share = {"fp32": 1e-4, "fp16": 0.02, "bf16": 0.1}[precision]
    assert loss.item() / scale == pytest.approx(total.item() / trained, rel=max(share / 5, 1e-4))
    for name, weight in plain.weights:
        expected = weight.grad
        assert (found[name] - expected).abs().max() <= share * expected.abs().max(), name


@pytest.mark.parametrize("weights", ["packed", "cached"])
def test_fused_layers_have_the_gradients_of_pefts_on_the_device(tiny_model_folder: Path, weights: str) -> None:
    from netllama.training.adapter import add_adapter
    from netllama.training.setup import use_gpu_layers

    ids = torch.randint(2, 500, (2, 24), generator=torch.Generator().manual_seed(1)).cuda()
    found = []
    for fused in (True, False):
        base = load_base(tiny_model_folder, loading_params("fp32", "nf4", True, weights))
        model, _ = add_adapter(base, lora_params(), 42, tiny_model_folder)
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)
        if fused:
            use_gpu_layers(model, ids.device)
            assert sum(hasattr(module, "fused_pool") for module in model.modules()) == 2 * 7
        model.train()
        model(input_ids=ids, labels=ids).loss.backward()
        found.append({name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad})
    for name, expected in found[1].items():
        torch.testing.assert_close(found[0][name], expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_checkpointed_layers_get_their_dropout_masks_again_when_the_pool_grows() -> None:
    """A GPU's random numbers depend on how many are drawn at a time."""
    from netllama.cpu_layers.dropout_pool import DropoutPool

    pool = DropoutPool(0.1, torch.bfloat16, torch.device("cuda", 0))
    torch.manual_seed(5)
    pool.refresh()
    state = torch.get_rng_state()
    first = pool.mask(torch.Size((100, 64)))
    pool.mask(torch.Size((5000, 1000)))
    torch.set_rng_state(state)
    assert torch.equal(pool.mask(torch.Size((100, 64))), first)
    assert float(pool.mask(torch.Size((1000, 1000))).float().mean()) == pytest.approx(0.9, abs=0.01)


def test_a_step_waits_for_the_device_once(tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]) -> None:
    """torch warns of each wait; the unpaged optimizer, since bitsandbytes' paged ones wait by design."""
    import warnings

    needs("bf16")
    run = packed_run(tiny_model_folder, tokenized_rows, "bf16", optim="adamw_torch_fused", max_steps=2, eval_steps=9)
    run.fit()
    given = run._prepare([[0, 1], [2, 3]])
    run.model.train()
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run.state.step += 1
            run._update(given)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [str(each.message) for each in seen if "synchroniz" in str(each.message)]
    assert len(waits) == 1, waits


def test_auto_keeps_small_models_dequantized(tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = load_base(tiny_model_folder, loading_params("fp16", "nf4", True, "auto"))
    assert not four_bit_layers(model)
    assert "weights: cached (" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("liger_kernel") is None, reason="needs liger-kernel")
def test_ligers_kernels_compute_what_torchs_do() -> None:
    from netllama.cpu_layers.fast_blocks import Gated
    from netllama.training.fused_blocks import _rotate, load_liger

    kernels = load_liger()
    torch.manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device="cuda", requires_grad=True)

    x, gate, up = draw(2, 9, 64), draw(2, 9, 128), draw(2, 9, 128)
    weight = torch.randn(64, device="cuda")
    query, key, angles = draw(2, 9, 64), draw(2, 9, 32), torch.randn(1, 9, 8, device="cuda")
    cos, sin = (torch.cat((part, part), -1) for part in (angles.cos(), angles.sin()))

    def normed(x: torch.Tensor) -> torch.Tensor:
        return weight * x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt()

    assert kernels.norm is not None
    pairs: list[tuple[Any, Any, list[torch.Tensor]]] = [
        (kernels.norm(x, weight, 1e-5), normed(x), [x]),
        (kernels.gate(gate, up), Gated.apply(gate, up), [gate, up]),
    ]
    # The kernel may turn its input in place.
    expected = _rotate(query, key, cos, sin)
    turned = kernels.rotate(query * 1, key * 1, cos, sin)
    pairs += [(turned[0], expected[0], [query]), (turned[1], expected[1], [key])]
    for found, other, inputs in pairs:
        torch.testing.assert_close(found, other, rtol=1e-4, atol=1e-4)
        slope = torch.randn_like(other)
        ours = torch.autograd.grad(found, inputs, slope.clone(), retain_graph=True)
        theirs = torch.autograd.grad(other, inputs, slope, retain_graph=True)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_run_that_goes_on_has_the_losses_of_an_undisturbed_one(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], tmp_path: Path, precision: str
) -> None:
    """With the paged optimizer's state and the scaler's; the bits of a GPU's sums may differ from run to run."""
    needs(precision)

    def fresh() -> Any:
        AcceleratorState._reset_state()
        return packed_run(tiny_model_folder, tokenized_rows, precision, max_steps=6, save_steps=3)

    undisturbed = fresh()
    undisturbed.fit()
    killed_after(3, fresh(), tmp_path / "run")
    again = fresh()
    again.restore(Checkpoints(tmp_path / "run").load())
    again.fit()
    assert again.state.step == 6
    found, expected = ([entry["loss"] for entry in run.state.loss] for run in (again, undisturbed))
    assert found == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(("quantization", "weights"), [("int8", "packed"), ("none", "auto"), ("nf4", "cached")])
def test_other_weights_train_on_the_device_too(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], quantization: str, weights: str
) -> None:
    needs("bf16")
    run = packed_run(
        tiny_model_folder, tokenized_rows, "bf16", quantization=quantization, quantized_weights=weights, max_steps=2
    )
    run.fit()
    assert all(bool(weight.any()) for name, weight in run.copy_adapter().items() if "lora_B" in name)


@pytest.mark.parametrize("config", ["ddp", "fsdp-qlora"])
def test_a_launch_configuration_trains_and_saves_an_adapter(
    tiny_base: Path, tokenized_rows: Callable[..., Rows], set_params: Callable[..., None], config: str
) -> None:
    """On as many devices as there are; on one, FSDP wraps without sharding."""
    import os
    import subprocess
    import sys

    from safetensors.torch import load_file

    from stages import train

    needs("bf16")
    write_tokenized_rows(train.TRAIN, tokenized_rows(12))
    write_tokenized_rows(train.VAL, tokenized_rows(3, seed=1))
    changes = train_params(max_steps=3, optim="adamw_torch").model_dump()
    set_params(
        **{f"train.{name}": value for name, value in changes.items()},
        **{"loading.precision": "bf16", "loading.quantization": "nf4", "lora.r": 4},
    )
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--config_file", str(ROOT / "profiles" / "launch" / f"{config}.yaml")]
    command += ["--num_processes", str(torch.cuda.device_count()), "-m", "stages.train"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-6000:]
    weights = load_file(train.ADAPTER / "adapter_model.safetensors")
    assert len(weights) == 2 * 7 * 2
    assert all(bool(weight.any()) for weight in weights.values()), "B was trained"
    assert json.loads(train.METRICS.read_text())["steps"] == 3


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_an_eval_between_two_training_passes_leaves_the_gradients_identical(
    tiny_model_folder: Path, precision: str
) -> None:
    needs(precision)
    from netllama.training.adapter import add_adapter

    base = load_base(tiny_model_folder, loading_params(precision, "nf4", True, "packed"))
    model, _ = add_adapter(base, lora_params(), 42, tiny_model_folder)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.02)
    ids = torch.randint(2, 500, (2, 24), generator=torch.Generator().manual_seed(1)).to(model.device)

    def gradients() -> dict[str, torch.Tensor]:
        model.train()
        model.zero_grad()
        with torch.autocast("cuda", dtype=choose_precision(precision)):
            loss = model(input_ids=ids, labels=ids).loss
        # The static scale that a fresh GradScaler starts with keeps small fp16 gradients from flushing to zero.
        (loss * 65536.0 if precision == "fp16" else loss).backward()
        return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}

    before = gradients()
    model.eval()
    with torch.inference_mode():
        model(input_ids=ids)
    after = gradients()
    assert_packed(model)
    for name, gradient in before.items():
        assert gradient.norm() > 0, name
        torch.testing.assert_close(after[name], gradient, rtol=1e-2, atol=1e-2 * float(gradient.abs().max()))


def test_packed_weights_on_the_device_compute_what_the_dequantized_ones_do(tiny_model_folder: Path) -> None:
    from netllama.models.loading import dequantize_model

    packed = load_base(tiny_model_folder, loading_params("fp32", "nf4", True, "packed"))
    plain = load_base(tiny_model_folder, loading_params("fp32", "nf4", True, "packed"))
    plain = dequantize_model(plain, torch.float32)
    ids = torch.randint(2, 500, (2, 24), generator=torch.Generator().manual_seed(1)).to(packed.device)
    with torch.inference_mode():
        torch.testing.assert_close(packed(input_ids=ids).logits, plain(input_ids=ids).logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_train_baseline_and_evaluate_run_through_on_the_device(
    tiny_base: Path, tokenized_rows: Callable[..., Rows], set_params: Callable[..., None], precision: str
) -> None:
    needs(precision)
    from netllama.rendering.renderer import load_renderer
    from stages import baseline, evaluate, train

    write_tokenized_rows(train.VAL, tokenized_rows(3, seed=1))
    renderer = load_renderer(evaluate.TOKENIZER, prompt_params("chat", ""))
    for path, rows in ((train.TRAIN, tokenized_rows(12)), (evaluate.TOKENIZED, tokenized_rows(5, seed=2))):
        write_tokenized_rows(path, rows, renderer.fingerprint)
    shipped = train_params(max_steps=3, optim="paged_adamw_32bit").model_dump()
    set_params(
        **{f"train.{name}": value for name, value in shipped.items()},
        **{
            "loading.precision": precision,
            "loading.quantization": "nf4",
            "evaluate.max_new_tokens": 6,
            "evaluate.num_generated": 3,
        },
    )
    train.main()
    assert json.loads(train.METRICS.read_text())["steps"] == 3
    baseline.main()
    evaluate.main()
    base, tuned = json.loads(baseline.METRICS.read_text()), json.loads(evaluate.METRICS.read_text())
    assert tuned.keys() - {"delta"} == base.keys()
    assert tuned["heldout"]["loss"] != base["heldout"]["loss"]
    assert tuned["generation"]["rows"] == 3


def test_the_state_of_a_paged_optimizer_is_paged_again_after_it_was_loaded(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]
) -> None:
    """bitsandbytes pages tensors of 100,000 numbers and more."""
    needs("bf16")

    def fresh() -> Any:
        AcceleratorState._reset_state()
        return make_run(
            tiny_model_folder,
            tokenized_rows(8),
            lora={"r": 2048},
            precision="bf16",
            quantization="nf4",
            optim="paged_adamw_32bit",
        )

    def paged(run: Any) -> list[bool]:
        states = run.optimizer.optimizer.state.values()
        return [bool(getattr(state["state1"], "is_paged", False)) for state in states if "state1" in state]

    run = fresh()
    run.fit()
    assert any(paged(run))
    again = fresh()
    again.restore(run.make_checkpoint())
    assert paged(again) == paged(run)
    for old, new in zip(run.weights, again.weights, strict=True):
        states = (each.optimizer.optimizer.state[weight] for each, (_, weight) in ((run, old), (again, new)))
        torch.testing.assert_close(*(state["state1"].cpu() for state in states))
