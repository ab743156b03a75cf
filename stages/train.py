"""Token ids to a LoRA adapter: QLoRA, on CUDA or on the CPU.

Reads  data/tokenized/train.parquet, val.parquet, models/base.json,
       params `model.precision`, `model.quantization`, `model.double_quantization`, `lora`, `train`
Writes models/adapter/ (adapter_model.safetensors, adapter_config.json), metrics/train.json,
       metrics/train_loss.csv, metrics/val_loss.csv
Run    python -m stages.train

QLoRA: Dettmers et al., arXiv 2305.14314. The base is frozen and in 4-bit NormalFloat; what is trained
are low-rank matrices on all of its linear layers.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import StageError, run_stage
from stages.core.files import read_json, scratch, write_csv, write_json
from stages.core.loading import choose_precision, load_base
from stages.core.params import load_params
from stages.core.tables import read_parquet
from stages.training.adapter import add_adapter, save_adapter
from stages.weights.reference import locate

if TYPE_CHECKING:
    from transformers import TrainingArguments

TRAIN = Path("data/tokenized/train.parquet")
VAL = Path("data/tokenized/val.parquet")
BASE = Path("models/base.json")
ADAPTER = Path("models/adapter")
METRICS = Path("metrics/train.json")
TRAIN_LOSS = Path("metrics/train_loss.csv")
VAL_LOSS = Path("metrics/val_loss.csv")


def training_arguments(train: Any, precision: str) -> "TrainingArguments":
    """The `train` section in the names of the installed transformers.

    The seed document's `warmup_ratio` is now a `warmup_steps` below 1, its `group_by_length` a
    `train_sampling_strategy`, `gradient_checkpointing` is `activation_checkpointing`, and its `fp16` follows
    from `model.precision`.
    """
    import torch
    from transformers import TrainingArguments

    dtype = choose_precision(precision)
    named = train.model_dump(exclude={"warmup_ratio", "group_by_length", "gradient_checkpointing"})
    arguments = TrainingArguments(
        output_dir=str(scratch("train")),
        warmup_steps=train.warmup_ratio,
        train_sampling_strategy="group_by_length" if train.group_by_length else "random",
        activation_checkpointing=train.gradient_checkpointing,
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        eval_strategy="steps",
        eval_on_start=True,
        save_strategy="no",
        logging_first_step=True,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to="none",
        **named,
    )
    if arguments.n_gpu > 1:
        # One process drives one GPU: DataParallel would copy the 4-bit weights and break them.
        arguments._n_gpu = 1
    return arguments


def curves(history: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """(step, loss) of the Trainer's log, the last one of each step."""
    by_step = {entry["step"]: round(entry[key], 6) for entry in history if key in entry}
    return [{"step": step, "loss": loss} for step, loss in sorted(by_step.items())]


def main() -> None:
    params = load_params("model.precision", "model.quantization", "model.double_quantization", "lora", "train")
    table, validation = read_parquet(TRAIN), read_parquet(VAL).to_pylist()
    if not table.num_rows:
        raise StageError(f"{TRAIN}: no rows to train on")
    from datasets import Dataset

    from stages.training.trainer import AnswerTrainer, Progress, collate

    folder = locate(BASE)
    base = load_base(folder, params.model.precision, params.model.quantization, params.model.double_quantization)
    model = add_adapter(base, params.lora, params.train.seed)
    trainable, total = model.get_nb_trainable_parameters()
    print(f"training {trainable:,} of {total:,} parameters on {table.num_rows} rows, {base.dtype} on {base.device}")
    trainer = AnswerTrainer(
        model=model,
        args=training_arguments(params.train, params.model.precision),
        train_dataset=Dataset(table),
        eval_dataset=Dataset(table.slice(0, 0)),
        validation=validation,
        data_collator=collate,
        callbacks=[Progress()],
    )
    trainer.train()
    history = trainer.state.log_history
    losses, val_losses = curves(history, "loss"), curves(history, "eval_loss")
    save_adapter(model, ADAPTER, read_json(BASE))
    write_csv(TRAIN_LOSS, losses)
    write_csv(VAL_LOSS, val_losses)
    metrics: dict[str, Any] = {
        "steps": trainer.state.global_step,
        "epochs": round(trainer.state.epoch or 0, 4),
        "trainable_parameters": trainable,
        "loss": {"first": losses[0]["loss"], "last": losses[-1]["loss"]},
    }
    if val_losses:
        metrics["val_loss"] = {"before": val_losses[0]["loss"], "after": val_losses[-1]["loss"]}
    write_json(METRICS, metrics)
    print(f"adapter -> {ADAPTER}/, curves -> {TRAIN_LOSS}, {VAL_LOSS}; next: dvc plots show")


if __name__ == "__main__":
    run_stage(main)
