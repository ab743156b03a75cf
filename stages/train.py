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
from typing import TYPE_CHECKING, Any

from netllama.core.errors import StageError, run_stage
from netllama.core.files import ensure_scratch_folder, hash_file, write_csv, write_json
from netllama.core.metrics import write_metrics
from netllama.core.params import View
from netllama.core.sections import LoadingParams, LoraParams, TrainParams
from netllama.core.tokenized_rows import read_template_hash, read_tokenized_rows
from netllama.models.loading import load_base, under_fsdp
from netllama.models.model_reference import ModelReference
from netllama.models.training_record import TrainingRecord

if TYPE_CHECKING:  # at run time after the params are checked: torch takes seconds
    import torch
    from accelerate import Accelerator

    from netllama.training.checkpoints import Checkpoints, TrainingState
    from netllama.training.loop import TrainingRun
    from netllama.training.progress import SpeedReport

TRAIN = Path("data/tokenized/train.parquet")
VAL = Path("data/tokenized/val.parquet")
BASE = Path("models/base.json")
ADAPTER = Path("models/adapter")
METRICS = Path("metrics/train.json")
TRAIN_LOSS = Path("metrics/train_loss.csv")
VAL_LOSS = Path("metrics/val_loss.csv")
LEARNING_RATE = Path("metrics/learning_rate.csv")
GRAD_NORM = Path("metrics/grad_norm.csv")


class Needs(View):
    """The params of this stage."""

    loading: LoadingParams
    lora: LoraParams
    train: TrainParams


def record_training(
    needs: Needs, base: ModelReference, accelerator: "Accelerator", dtype: "torch.dtype"
) -> TrainingRecord:
    from netllama.training.checkpoints import read_versions

    return TrainingRecord(
        base=base,
        data={path.as_posix(): hash_file(path) for path in (TRAIN, VAL)},
        template_hash=read_template_hash(TRAIN),
        loading=needs.loading.model_dump() | {"precision": str(dtype).removeprefix("torch.")},
        lora=needs.lora.model_dump(),
        train=needs.train.model_dump(),
        device=accelerator.device.type,
        processes=accelerator.num_processes,
        versions=read_versions(),
    )


def find_checkpoints(made_by: TrainingRecord, accelerator: "Accelerator") -> "Checkpoints | None":
    """The checkpoints of runs with the same inputs, params, code and libraries.

    None under FSDP, where each process holds only a part of the weights and of the optimizer's state.
    """
    from netllama.training.checkpoints import Checkpoints, compute_run_key

    launched = accelerator.distributed_type.value
    key = compute_run_key([TRAIN, VAL, BASE], made_by=made_by.model_dump(), launched=launched)
    return None if under_fsdp() else Checkpoints(ensure_scratch_folder("train") / key)


def is_out_of_memory(error: Exception) -> bool:
    """Whether there was no room left, on a GPU or on the CPU, whose allocator raises a plain RuntimeError."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate" in str(
        error
    )


def fit_run(run: "TrainingRun", checkpoints: "Checkpoints | None") -> None:
    """Train from the last checkpoint, or from the start, to the end."""
    checkpoint = checkpoints.load() if checkpoints else None
    for path in checkpoints.damaged if checkpoints else ():
        run.accelerator.print(f"{path}: a damaged checkpoint, which is left as it is; the one before it is used if any")
    if checkpoints and checkpoint:
        run.restore(checkpoint)
        done = f"{run.state.step} of {run.train.max_steps}"
        run.accelerator.print(f"goes on after step {done}, from {checkpoints.folder}")
    try:
        run.fit(checkpoints)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise StageError(
            f"train: the device's memory is full in step {run.state.step}; lower train.per_device_train_batch_size "
            "(raise gradient_accumulation_steps instead), set train.gradient_checkpointing, or lower "
            "tokenize.max_length"
        ) from None


def summarize_run(state: "TrainingState", epochs: float, trainable: int, early_stopping: bool) -> dict[str, Any]:
    """metrics/train.json: numbers that are the same on every run."""
    metrics: dict[str, Any] = {
        "steps": state.step,
        "epochs": round(epochs, 4),
        "trainable_parameters": trainable,
        "loss": {"first": state.loss[0]["loss"], "last": state.loss[-1]["loss"]},
    }
    if losses := [point["loss"] for point in state.val_loss]:
        kept = losses.index(min(losses)) if early_stopping else -1
        metrics["val_loss"] = {"before": losses[0], "after": losses[kept]}
        if early_stopping:
            metrics["best_step"] = state.val_loss[kept]["step"]
    return metrics


def write_curves(state: "TrainingState") -> None:
    write_csv(TRAIN_LOSS, state.loss)
    write_csv(VAL_LOSS, state.val_loss)
    write_csv(LEARNING_RATE, state.learning_rate)
    write_csv(GRAD_NORM, state.grad_norm)


def print_speed(speed: "SpeedReport") -> None:
    memory = ", ".join(f"{value:,} MB ({name})" for name, value in speed.peak_memory_mb.items())
    print(
        f"{speed.tokens_per_second:,.0f} tokens a second, {speed.padding_share:.0%} padding, peak memory {memory}\n"
        f"adapter -> {ADAPTER}/, curves -> metrics/; next: dvc plots show"
    )


def main() -> None:
    needs = Needs.load()
    rows, validation = read_tokenized_rows(TRAIN), read_tokenized_rows(VAL)
    if not rows:
        raise StageError(f"{TRAIN}: no rows to train on")

    from netllama.models.precision import describe_precision
    from netllama.training.adapter import save_adapter
    from netllama.training.checkpoints import hold_checkpoints
    from netllama.training.loop import TrainingRun
    from netllama.training.setup import (
        build_model,
        locate_base,
        make_accelerator,
        plan_workload,
        require_shardable,
    )

    require_shardable(needs.loading, needs.lora, needs.train)
    accelerator = make_accelerator(needs.loading.precision)
    accelerator.print(describe_precision(needs.loading.precision), flush=True)
    located = locate_base(BASE, accelerator)
    base = load_base(
        located.folder, needs.loading, plan_workload(needs.lora, needs.train, [row.length for row in rows])
    )
    model, start = build_model(base, needs.lora, needs.train, located.folder)
    trainable, total = model.model.get_nb_trainable_parameters()
    made_by = record_training(needs, located.reference, accelerator, base.dtype)
    checkpoints = find_checkpoints(made_by, accelerator)
    run = TrainingRun(model, rows, validation, needs.train, accelerator)
    accelerator.print(
        f"training {trainable:,} of {total:,} parameters on {len(rows)} rows, {base.dtype} on {base.device}"
    )
    with hold_checkpoints(checkpoints, accelerator):
        fit_run(run, checkpoints)
        weights = run.gather_adapter()
        if not accelerator.is_main_process:
            return
        save_adapter(model.model, ADAPTER, made_by, start, weights)
        write_curves(run.state)
        early_stopping = needs.train.early_stopping_patience > 0
        details = summarize_run(run.state, run.count_epochs(), trainable, early_stopping)
        shown = {"val_loss": details["val_loss"]["after"]} if "val_loss" in details else {}
        write_metrics(METRICS, shown, details)
        write_json(ensure_scratch_folder("logs") / "train.json", vars(run.progress.report()))
        if checkpoints:
            checkpoints.remove()
        print_speed(run.progress.report())


if __name__ == "__main__":
    run_stage(main, __doc__)
