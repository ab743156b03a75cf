"""Params of the sections `lora` and `train` for tests, and runs of the training loop on a tiny model."""

from pathlib import Path
from typing import Any

import pytest

from netllama.core.params import read_params
from netllama.core.sections import LoadingParams, LoraParams, PromptParams, TrainParams
from netllama.core.tokenized_rows import TokenizedRow
from netllama.models.model_reference import ModelReference
from netllama.models.training_record import TrainingRecord
from tests.support.clones import ROOT

SHIPPED = read_params(ROOT / "params.yaml")
SMALL = {
    "max_steps": 4,
    "per_device_train_batch_size": 2,
    "per_device_eval_batch_size": 2,
    "learning_rate": 0.01,
    "lr_scheduler_type": "constant",
    "warmup_ratio": 0.0,
    "logging_steps": 1,
    "eval_steps": 2,
    "save_steps": 1,
}


def loading_params(
    precision: str = "fp32", quantization: str = "none", double: bool = True, quantized_weights: str = "auto"
) -> LoadingParams:
    """The section `loading`."""
    return LoadingParams.model_validate(
        {
            "precision": precision,
            "quantization": quantization,
            "double_quantization": double,
            "quantized_weights": quantized_weights,
        }
    )


def prompt_params(template: str = "chat", system_prompt: str = "") -> PromptParams:
    """The section `prompt`."""
    return PromptParams.model_validate({"template": template, "system_prompt": system_prompt})


def lora_params(**changes: Any) -> LoraParams:
    """As shipped, but of rank 4 and without dropout, and `changes`."""
    return LoraParams(**SHIPPED.lora.model_dump() | {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0} | changes)


def train_params(**changes: Any) -> TrainParams:
    """As shipped, but four steps of two rows, all logged, and `changes`."""
    return TrainParams(**SHIPPED.train.model_dump() | SMALL | changes)


def training_record(id: str = "tiny", revision: str = "", template_hash: str = "") -> TrainingRecord:
    """Of an adapter on the base `id` that was made of nothing else."""
    return TrainingRecord(
        base=ModelReference(id=id, revision=revision, files={}),
        data={},
        template_hash=template_hash,
        loading={},
        lora={},
        train={},
        device="cpu",
        processes=1,
        versions={},
    )


def make_run(
    folder: Path,
    rows: list[TokenizedRow],
    validation: list[TokenizedRow] | None = None,
    lora: dict[str, Any] | None = None,
    precision: str = "fp32",
    quantization: str = "none",
    quantized_weights: str = "auto",
    accelerator: Any = None,
    **train: Any,
) -> Any:
    """A `TrainingRun` over `rows`, ready to fit; `start` is what its adapter started from."""
    from netllama.models.loading import load_base
    from netllama.training.loop import TrainingRun
    from netllama.training.setup import build_model, make_accelerator

    params = train_params(**train)
    accelerator = accelerator or make_accelerator(precision)
    base = load_base(folder, loading_params(precision, quantization, True, quantized_weights))
    model, start = build_model(base, lora_params(**lora or {}), params, folder)
    run = TrainingRun(model, rows, validation or [], params, accelerator)
    run.start = start  # type: ignore[attr-defined]
    return run


def randomize(run: Any, std: float = 0.05) -> None:
    """B matrices that are not zero, so that every layer adds to the output and A gets a gradient."""
    import torch

    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in run.weights:
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * std)


def killed_after(step: int, run: Any, folder: Path) -> None:
    """`run` up to its checkpoint of `step` in `folder`, where it ends without doing anything more."""
    from netllama.training.checkpoints import Checkpoint, Checkpoints

    class Killed(Exception):
        pass

    class Last(Checkpoints):
        def save(self, checkpoint: Checkpoint) -> None:
            super().save(checkpoint)
            if checkpoint.state.step == step:
                raise Killed

    with pytest.raises(Killed):
        run.fit(Last(folder))
