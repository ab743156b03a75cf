"""Each option of the adapter, of training and of the base's weights takes effect, and is what its paper says."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from netllama.core.errors import StageError
from netllama.core.tokenized_rows import TokenizedRow
from netllama.cpu_layers import fast_blocks
from netllama.models.loading import load_adapter, load_base
from netllama.training.adapter import save_adapter
from tests.support.training_runs import loading_params, make_run, randomize, training_record

pytestmark = pytest.mark.usefixtures("one_thread")
on_the_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="is about a machine without CUDA")
Rows = list[TokenizedRow]
IDS = torch.randint(2, 500, (2, 24), generator=torch.Generator().manual_seed(1))
LAYER = "base_model.model.model.layers.0.mlp.up_proj"


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.eval()(input_ids=IDS.to(model.device)).logits
    return found


def layer(run: Any) -> Any:
    return run.inner.model.get_submodule(LAYER)


def saved(run: Any, folder: Path) -> Path:
    save_adapter(run.inner.model, folder / "adapter", training_record(), run.start)
    return folder / "adapter"


def test_rslora_scales_by_the_root_of_the_rank(tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]) -> None:
    plain = make_run(tiny_model_folder, tokenized_rows(4), lora={"r": 16, "lora_alpha": 8})
    stabilized = make_run(tiny_model_folder, tokenized_rows(4), lora={"r": 16, "lora_alpha": 8, "use_rslora": True})
    assert layer(plain).scaling["default"] == 0.5
    assert layer(stabilized).scaling["default"] == 2.0
    plain.fit()
    stabilized.fit()
    assert plain.state.loss != stabilized.state.loss


def test_dora_trains_a_magnitude_for_each_output(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], tmp_path: Path
) -> None:
    run = make_run(tiny_model_folder, tokenized_rows(8), lora={"use_dora": True})
    magnitudes = {name: weight.clone() for name, weight in run.weights if "magnitude" in name}
    assert len(magnitudes) == 2 * 7
    run.fit()
    assert all(not torch.equal(run.copy_adapter()[name], weight) for name, weight in magnitudes.items())
    tuned = load_adapter(load_base(tiny_model_folder, loading_params("fp32", "none", True)), saved(run, tmp_path))
    torch.testing.assert_close(logits(tuned), logits(run.inner.model))


def test_a_gaussian_start_draws_a_from_a_normal_distribution(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]
) -> None:
    """PEFT divides it by the rank; the default is uniform within 1 / sqrt(inputs)."""
    default = layer(make_run(tiny_model_folder, tokenized_rows(2))).lora_A["default"].weight.detach()
    gaussian = layer(make_run(tiny_model_folder, tokenized_rows(2), lora={"init_lora_weights": "gaussian"}))
    drawn = gaussian.lora_A["default"].weight.detach()
    assert default.abs().max() <= 1 / math.sqrt(64)
    assert drawn.abs().max() > 2 / 4
    assert drawn.std() == pytest.approx(1 / 4, rel=0.2)
    assert not gaussian.lora_B["default"].weight.any()


@pytest.mark.parametrize("method", ["pissa", "pissa_niter_8"])
def test_pissa_moves_the_principal_components_and_leaves_the_models_output(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], method: str
) -> None:
    base = load_base(tiny_model_folder, loading_params("fp32", "none", True))
    before, weight = logits(base), base.get_parameter("model.layers.0.mlp.up_proj.weight").clone()
    run = make_run(tiny_model_folder, tokenized_rows(4), lora={"init_lora_weights": method})
    torch.testing.assert_close(logits(run.inner.model), before, rtol=1e-4, atol=1e-5)
    moved = layer(run)
    a, b = (moved.get_parameter(f"lora_{kind}.default.weight").detach() for kind in "AB")
    product = moved.scaling["default"] * b @ a
    torch.testing.assert_close(moved.base_layer.weight + product, weight)
    values = torch.linalg.svdvals(weight)
    accuracy = 1e-4 if method == "pissa" else 0.06
    assert torch.linalg.svdvals(product)[:4].tolist() == pytest.approx(values[:4].tolist(), rel=accuracy)
    assert torch.linalg.svdvals(moved.base_layer.weight)[0] < values[1], "they are gone from the base"


@pytest.mark.parametrize("use_rslora", [False, True])
def test_a_pissa_adapter_is_saved_as_a_plain_one_for_the_base_as_it_was(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], tmp_path: Path, use_rslora: bool
) -> None:
    run = make_run(tiny_model_folder, tokenized_rows(8), lora={"init_lora_weights": "pissa", "use_rslora": use_rslora})
    run.fit()
    tuned = load_adapter(load_base(tiny_model_folder, loading_params("fp32", "none", True)), saved(run, tmp_path))
    assert tuned.peft_config["default"].r == 2 * 4
    torch.testing.assert_close(logits(tuned), logits(run.inner.model), rtol=1e-3, atol=1e-4)
    assert (
        logits(tuned) - logits(load_base(tiny_model_folder, loading_params("fp32", "none", True)))
    ).abs().max() > 0.01


def test_pissa_on_packed_weights_is_one_clear_line(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]
) -> None:
    with pytest.raises(
        StageError, match=r"^lora\.init_lora_weights: pissa .* set loading\.quantized_weights to cached"
    ):
        make_run(
            tiny_model_folder,
            tokenized_rows(2),
            lora={"init_lora_weights": "pissa"},
            quantization="nf4",
            quantized_weights="packed",
        )


@pytest.mark.parametrize("method", ["pissa", "loftq"])
def test_a_rank_above_the_size_of_a_layer_is_one_clear_line(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], method: str
) -> None:
    lora = {"init_lora_weights": method, "r": 100}
    with pytest.raises(StageError, match=r"^lora\.r 100: a layer of 64 x 64 has fewer components$"):
        make_run(tiny_model_folder, tokenized_rows(2), lora=lora, quantization="nf4", quantized_weights="cached")


@pytest.mark.parametrize("weights", ["cached", "packed"])
def test_loftq_starts_from_what_quantization_took(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], weights: str, tmp_path: Path
) -> None:
    original = load_base(tiny_model_folder, loading_params("fp32", "none", True))
    quantized = load_base(tiny_model_folder, loading_params("fp32", "nf4", True))
    run = make_run(
        tiny_model_folder,
        tokenized_rows(4),
        lora={"init_lora_weights": "loftq", "r": 16},
        quantization="nf4",
        quantized_weights=weights,
    )
    name = "model.layers.0.mlp.up_proj.weight"
    lost = original.get_parameter(name) - quantized.get_parameter(name)
    a, b = (layer(run).get_parameter(f"lora_{kind}.default.weight").detach() for kind in "AB")
    made_up = layer(run).scaling["default"] * b @ a
    left = torch.linalg.svdvals(lost)[16:]
    assert (lost - made_up).norm() == pytest.approx(float(left.norm()), rel=1e-3), "the best of rank 16"
    error = (logits(run.inner.model) - logits(original)).norm()
    assert error < 0.8 * (logits(quantized) - logits(original)).norm()
    run.fit()
    tuned = load_adapter(quantized, saved(run, tmp_path))
    torch.testing.assert_close(logits(tuned), logits(run.inner.model), rtol=1e-3, atol=1e-3)


def test_loftq_without_quantization_is_one_clear_line(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]
) -> None:
    with pytest.raises(StageError, match=r"^lora\.init_lora_weights: loftq needs a quantized base"):
        make_run(tiny_model_folder, tokenized_rows(2), lora={"init_lora_weights": "loftq"})


def test_lora_plus_moves_the_b_matrices_further_and_the_first_a_as_far(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]
) -> None:
    """One step of AdamW from zero moves each entry by the rate, whatever its gradient."""
    ends = []
    for ratio in (1.0, 16.0):
        run = make_run(tiny_model_folder, tokenized_rows(4), max_steps=1, learning_rate=0.001, loraplus_lr_ratio=ratio)
        run.fit()
        ends.append(run.copy_adapter())
    for name in ends[0]:
        factor = 16.0 if "lora_B" in name else 1.0
        torch.testing.assert_close(ends[1][name], ends[0][name] * factor, rtol=1e-3, atol=1e-6, msg=name)


def test_neftune_noise_changes_training_and_not_validation(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]
) -> None:
    runs = [
        make_run(tiny_model_folder, tokenized_rows(6), tokenized_rows(2, seed=1), neftune_noise_alpha=alpha)
        for alpha in (0.0, 10.0)
    ]
    for run in runs:
        run.fit()
    assert runs[0].state.loss[0] != runs[1].state.loss[0]
    assert runs[0].state.val_loss[0] == runs[1].state.val_loss[0]


def test_gradient_checkpointing_computes_layers_again_and_changes_no_bit(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout included: the masks of the second forward pass are those of the first."""
    forward = fast_blocks._attend
    calls: list[int] = []

    def counted(self: Any, *given: Any, **named: Any) -> Any:
        calls.append(1)
        return forward(self, *given, **named)

    monkeypatch.setattr(fast_blocks, "_attend", counted)
    ends = []
    for checkpointing in (False, True):
        calls.clear()
        run = make_run(
            tiny_model_folder, tokenized_rows(8), lora={"lora_dropout": 0.3}, gradient_checkpointing=checkpointing
        )
        run.fit()
        assert len(calls) == 4 * 2 * (1 + checkpointing), "two layers, every step"
        ends.append(run.copy_adapter())
    assert all(torch.equal(ends[1][name], weight) for name, weight in ends[0].items())


@on_the_cpu
@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_packed_weights_train_what_cached_ones_train(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], quantization: str
) -> None:
    """With validations between the steps: eval() must not change what training does."""
    runs = {}
    for weights in ("cached", "packed"):
        run = make_run(
            tiny_model_folder,
            tokenized_rows(8),
            tokenized_rows(2, seed=1),
            quantization=quantization,
            quantized_weights=weights,
            eval_steps=1,
        )
        weight = layer(run).base_layer.weight
        packed = {"nf4": torch.uint8, "int8": torch.int8}[quantization]
        assert (weight.dtype == packed) == (weights == "packed")
        run.fit()
        runs[weights] = run
    for curve in ("loss", "val_loss"):
        found, expected = ([entry["loss"] for entry in getattr(runs[weights].state, curve)] for weights in runs)
        # int8 quantizes the activations as well (LLM.int8(), section 2), which plain layers do not.
        assert found == pytest.approx(expected, rel=1e-3 if quantization == "nf4" else 0.02)


@on_the_cpu
def test_auto_keeps_a_large_model_packed_on_the_cpu(tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from netllama.models import loading

    name = "model.layers.0.mlp.up_proj.weight"
    assert load_base(tiny_model_folder, loading_params("fp32", "nf4", True)).get_parameter(name).dtype == torch.float32
    monkeypatch.setattr(loading, "LARGEST_CACHED", 1000)
    assert load_base(tiny_model_folder, loading_params("fp32", "nf4", True)).get_parameter(name).dtype == torch.uint8
    assert (
        load_base(tiny_model_folder, loading_params("fp32", "nf4", True, "cached")).get_parameter(name).dtype
        == torch.float32
    )


def test_an_unquantized_base_is_as_published_and_int8_is_near_to_it(tiny_model_folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    published = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    name = "model.layers.0.mlp.up_proj.weight"
    weight = published.get_parameter(name)
    assert torch.equal(
        load_base(tiny_model_folder, loading_params("fp32", "none", True)).get_parameter(name).cpu(), weight
    )
    errors = [
        float(
            (
                load_base(tiny_model_folder, loading_params("fp32", kind, True, "cached")).get_parameter(name).cpu()
                - weight
            ).norm()
        )
        for kind in ("int8", "nf4")
    ]
    assert 0 < errors[0] < errors[1] / 5


def test_every_layer_named_all_linear_is_trained_in_fp32(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows]
) -> None:
    run = make_run(tiny_model_folder, tokenized_rows(4), precision="bf16", quantization="nf4")
    assert len(run.weights) == 2 * 7 * 2
    assert {weight.dtype for _, weight in run.weights} == {torch.float32}


def test_a_layer_that_peft_leaves_out_is_noticed(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    import peft

    original = peft.get_peft_model

    def forgetful(base: Any, config: Any, **given: Any) -> Any:
        config.target_modules = ["q_proj", "v_proj"]  # PEFT's own default for Llama
        return original(base, config, **given)

    monkeypatch.setattr(peft, "get_peft_model", forgetful)
    with pytest.raises(StageError, match=r"^lora\.target_modules: PEFT puts LoRA on 4 layers, 14 are meant"):
        make_run(tiny_model_folder, tokenized_rows(2))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_lowers_the_loss_of_what_it_trains_on(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], precision: str
) -> None:
    rows = tokenized_rows(4)
    run = make_run(
        tiny_model_folder, rows, rows, precision=precision, max_steps=30, per_device_train_batch_size=4, eval_steps=30
    )
    randomize(run)
    run.fit()
    assert run.state.val_loss[-1]["loss"] < 0.9 * run.state.val_loss[0]["loss"]


def test_gradients_are_clipped_to_max_grad_norm_before_the_update(
    tiny_model_folder: Path, tokenized_rows: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    norms = []
    for limit in (0.05, 1000.0):
        run = make_run(tiny_model_folder, tokenized_rows(4), max_steps=1, max_grad_norm=limit)
        randomize(run)
        step = run.optimizer.step

        def look(run: Any = run, step: Any = step) -> None:
            norms.append(float(torch.stack([weight.grad.norm() for _, weight in run.weights]).norm()))
            step()

        monkeypatch.setattr(run.optimizer, "step", look)
        run.fit()
    assert norms[0] == pytest.approx(0.05, rel=1e-3)
    assert norms[1] == pytest.approx(run.state.grad_norm[0]["grad_norm"], rel=1e-3)
    assert norms[1] > 0.1
