"""Token ids to a LoRA adapter: QLoRA, on CUDA or on the CPU, in one process or in several.

Reads  data/tokenized/train.parquet, val.parquet, models/base.json, params `loading`, `lora`, `train`
Writes models/adapter/ (adapter_model.safetensors, adapter_config.json, training.json: all that made it),
       metrics/train.json and the curves metrics/{train_loss,val_loss,learning_rate,grad_norm}.csv
Run    python -m stages.train, or accelerate launch --config_file profiles/launch/ddp.yaml -m stages.train

QLoRA: Dettmers et al., arXiv 2305.14314. The base is frozen and in 4-bit NormalFloat; what is trained
are low-rank matrices on all of its linear layers. A killed run goes on from its last checkpoint in .scratch/train/.
Speed and memory of the run are in .scratch/logs/train.json.
"""

from pathlib import Path
from typing import Any

from netllama.core.errors import StageError, run_stage
from netllama.core.files import read_json, scratch, sha256_file, write_csv, write_json
from netllama.core.params import View
from netllama.core.sections import LoadingParams, LoraParams, TrainParams
from netllama.core.tokenized_rows import read_parquet, template_hash
from netllama.models.loading import load_base, under_fsdp
from netllama.models.reference import locate

TRAIN = Path("data/tokenized/train.parquet")
VAL = Path("data/tokenized/val.parquet")
BASE = Path("models/base.json")
ADAPTER = Path("models/adapter")
METRICS = Path("metrics/train.json")
CURVES = {
    "loss": Path("metrics/train_loss.csv"),
    "val_loss": Path("metrics/val_loss.csv"),
    "learning_rate": Path("metrics/learning_rate.csv"),
    "grad_norm": Path("metrics/grad_norm.csv"),
}


class Needs(View):
    """The params of this stage."""

    loading: LoadingParams
    lora: LoraParams
    train: TrainParams


def resolved(needs: Needs, base: dict[str, Any], accelerator: Any, dtype: Any) -> dict[str, Any]:
    """All that made the adapter, saved beside it: params, the hashes of its inputs, versions, precision, device."""
    from netllama.training.checkpoints import versions

    return {
        "base": base,
        "data": {path.as_posix(): sha256_file(path) for path in (TRAIN, VAL)},
        "template_hash": template_hash(TRAIN),
        "loading": needs.loading.model_dump() | {"precision": str(dtype).removeprefix("torch.")},
        "lora": needs.lora.model_dump(),
        "train": needs.train.model_dump(),
        "device": accelerator.device.type,
        "processes": accelerator.num_processes,
        "versions": versions(),
    }


def summary(run: Any, trainable: int) -> dict[str, Any]:
    """metrics/train.json: numbers that are the same on every run."""
    metrics: dict[str, Any] = {
        "steps": run.step,
        "epochs": round(run.epochs, 4),
        "trainable_parameters": trainable,
        "loss": {"first": run.loss[0]["loss"], "last": run.loss[-1]["loss"]},
    }
    if losses := [entry["loss"] for entry in run.val_loss]:
        metrics["val_loss"] = {"before": losses[0], "after": losses[-1]}
        if run.train.early_stopping_patience:
            best = losses.index(min(losses))
            metrics["val_loss"]["after"] = losses[best]
            metrics["best_step"] = run.val_loss[best]["step"]
    return metrics


def main() -> None:
    needs = Needs.load()
    rows, validation = read_parquet(TRAIN).to_pylist(), read_parquet(VAL).to_pylist()
    if not rows:
        raise StageError(f"{TRAIN}: no rows to train on")
    reference = read_json(BASE)

    import torch

    from netllama.training.adapter import save_adapter
    from netllama.training.checkpoints import Checkpoints, run_key
    from netllama.training.loop import Run
    from netllama.training.setup import build, make_accelerator, require_shardable

    require_shardable(needs.loading, needs.lora, needs.train)
    accelerator = make_accelerator(needs.loading.precision)
    folder = locate(BASE)
    base = load_base(folder, needs.loading)
    model, start = build(base, needs.lora, needs.train, folder)
    trainable, total = model.model.get_nb_trainable_parameters()
    made_by = resolved(needs, reference, accelerator, base.dtype)
    key = run_key([TRAIN, VAL, BASE], made_by=made_by, launched=accelerator.distributed_type.value)
    # Under FSDP each process has a part of the weights and of the optimizer's state: that is not kept.
    checkpoints = None if under_fsdp() else Checkpoints(scratch("train") / key)
    run = Run(model, rows, validation, needs.train, accelerator)
    say = accelerator.print
    say(f"training {trainable:,} of {total:,} parameters on {len(rows)} rows, {base.dtype} on {base.device}")
    if checkpoints and (state := checkpoints.load()):
        run.restore(state)
        say(f"goes on after step {run.step} of {needs.train.max_steps}, from {checkpoints.path}")
    try:
        run.fit(checkpoints)
    except torch.OutOfMemoryError:
        raise StageError(
            f"train: the device's memory is full in step {run.step}; lower train.per_device_train_batch_size (raise "
            "gradient_accumulation_steps instead), set train.gradient_checkpointing, or lower tokenize.max_length"
        ) from None
    weights = run.gathered()
    if not accelerator.is_main_process:
        return
    save_adapter(model.model, ADAPTER, reference, made_by, start, weights)
    for name, path in CURVES.items():
        write_csv(path, getattr(run, name))
    write_json(METRICS, summary(run, trainable))
    speed = run.speed()
    write_json(scratch("logs") / "train.json", speed)
    if checkpoints:
        checkpoints.remove()
    print(
        f"{speed['tokens_per_second']:,.0f} tokens a second, {speed['padding_share']:.0%} padding, peak memory "
        + ", ".join(f"{value:,} MB ({name})" for name, value in speed["peak_memory_mb"].items())
    )
    print(f"adapter -> {ADAPTER}/, curves -> metrics/; next: dvc plots show")


if __name__ == "__main__":
    run_stage(main)
