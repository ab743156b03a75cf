"""Packed NF4 QLoRA on a CUDA device: every precision trains, weights stay in 4 bits, gradients reach every layer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.core.loading import choose_precision, load_base
from stages.core.sections import Lora, Train
from stages.core.tables import write_parquet

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
Rows = list[dict[str, Any]]


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


def lora() -> Lora:
    return Lora(r=4, lora_alpha=8, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM", target_modules="all-linear")


def train_params(**changes: Any) -> Train:
    values = {
        "seed": 42,
        "max_steps": 3,
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "learning_rate": 0.001,
        "lr_scheduler_type": "constant",
        "warmup_ratio": 0.0,
        "weight_decay": 0.0,
        "max_grad_norm": 0.3,
        "optim": "paged_adamw_32bit",
        "group_by_length": True,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "eval_steps": 1,
    }
    return Train(**values | changes)


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_the_model_is_loaded_onto_the_device(tiny_model_folder: Path, quantization: str) -> None:
    model = load_base(tiny_model_folder, "fp16", quantization, True)
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
    tiny_base: Path, tokenized_rows: Callable[..., Rows], precision: str, gradient_checkpointing: bool
) -> None:
    """With the paged optimizer, and validation between all steps: eval() must not change what training does."""
    needs(precision)
    from datasets import Dataset
    from stages.training.trainer import AnswerTrainer, Progress, collate
    from transformers import TrainerCallback

    from stages.train import training_arguments
    from stages.training.adapter import add_adapter

    norms: list[dict[str, float]] = []

    class GradientsOfEachStep(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            norms.append({name: float(p.grad.norm()) for name, p in model.named_parameters() if p.requires_grad})

    base = load_base(Path("tiny"), precision, "nf4", True)
    model = add_adapter(base, lora(), seed=42)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.02)
    before = {name: weight.data.clone() for name, weight in model.named_parameters()}
    params = train_params(gradient_checkpointing=gradient_checkpointing)
    trainer = AnswerTrainer(
        model=model,
        args=training_arguments(params, precision),
        train_dataset=Dataset.from_list(tokenized_rows(12)),
        eval_dataset=Dataset.from_list(tokenized_rows(1)),
        validation=tokenized_rows(3, seed=1),
        data_collator=collate,
        callbacks=[Progress(), GradientsOfEachStep()],
    )
    trainer.train()

    assert_packed(model)
    assert trainer.args.fp16 is (precision == "fp16")
    assert trainer.args.bf16 is (precision == "bf16")
    assert len(norms) == 3
    for step in norms:
        assert len(step) == 2 * 7 * 2
        # A scaler may skip a step whose fp16 gradients overflowed; none may be zero: that is a cut graph.
        assert all(norm != 0 for norm in step.values()), {name for name, norm in step.items() if norm == 0}
    trainable = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trainable == {name for name in before if "lora_" in name}
    for name, weight in model.named_parameters():
        if name in trainable:
            assert weight.dtype == torch.float32
            assert torch.isfinite(weight).all(), name
            assert not torch.equal(weight.data, before[name]), f"{name} was not trained"
        else:
            assert torch.equal(weight.data, before[name]), f"{name} is frozen and has changed"
    logged = trainer.state.log_history
    assert [entry["step"] for entry in logged if "loss" in entry] == [1, 2, 3]
    assert [entry["step"] for entry in logged if "eval_loss" in entry] == [0, 1, 2, 3]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_an_eval_between_two_training_passes_leaves_the_gradients_identical(
    tiny_model_folder: Path, precision: str
) -> None:
    needs(precision)
    from stages.training.adapter import add_adapter

    model = add_adapter(load_base(tiny_model_folder, precision, "nf4", True), lora(), seed=42)
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
    from stages.core.loading import dequantize

    packed = load_base(tiny_model_folder, "fp32", "nf4", True)
    plain = dequantize(load_base(tiny_model_folder, "fp32", "nf4", True), torch.float32)
    ids = torch.randint(2, 500, (2, 24), generator=torch.Generator().manual_seed(1)).to(packed.device)
    with torch.inference_mode():
        torch.testing.assert_close(packed(input_ids=ids).logits, plain(input_ids=ids).logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_train_baseline_and_evaluate_run_through_on_the_device(
    tiny_base: Path, tokenized_rows: Callable[..., Rows], set_params: Callable[..., None], precision: str
) -> None:
    needs(precision)
    from stages import baseline, evaluate, train
    from stages.core.files import write_jsonl

    write_parquet(train.TRAIN, tokenized_rows(12))
    write_parquet(train.VAL, tokenized_rows(3, seed=1))
    write_parquet(evaluate.TOKENIZED, tokenized_rows(5, seed=2))
    task = {"family": "bgp_knowledge", "source": "seed", "input": "", "output": "It is TCP 179."}
    write_jsonl(
        evaluate.TEST, [task | {"id": f"row-{number}", "instruction": f"Port of peer {number}?"} for number in range(3)]
    )
    shipped = train_params().model_dump()
    set_params(
        **{f"train.{name}": value for name, value in shipped.items()},
        **{
            "model.precision": precision,
            "model.quantization": "nf4",
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
