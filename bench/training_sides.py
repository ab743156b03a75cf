"""The two sides of bench/train.py: QLoRA training by TRL's SFTTrainer and by the stage train, on equal rows.

Both use the same hyperparameters; whatever is not a hyperparameter is each side's default.
"""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netllama.core.tokenized_rows import TokenizedRow

SEEDS = Path("data/seeds")
ROWS, BATCH = 128, 4
LORA = {"r": 64, "lora_alpha": 16, "lora_dropout": 0.1, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
HYPERPARAMETERS = {
    "per_device_train_batch_size": BATCH,
    "gradient_accumulation_steps": 1,
    "learning_rate": 1e-4,
    "lr_scheduler_type": "constant",
    "weight_decay": 0.0,
    "max_grad_norm": 0.3,
    "optim": "adamw_torch_fused",
}
# Changes nothing that is computed: logs every step and saves nothing while the clock runs.
QUIET = {"use_cpu": True, "logging_steps": 1, "save_strategy": "no", "report_to": "none", "disable_tqdm": True}


@dataclass
class TrainedSide:
    """What one side trained, and how fast."""

    model: Any
    seconds: float
    tokens: int
    """Real tokens of the batches trained on."""
    losses: list[float]
    """One for each step: the loss of its batch before the update."""
    later: float = 0.0
    """Real tokens a second in the second half of the steps; ours only."""


def tokenize_seed_tasks(folder: Path) -> list[TokenizedRow]:
    """ROWS seed tasks in the order of the files, chosen so that their lengths represent those of all seed tasks."""
    from netllama.core.records import load_seeds
    from netllama.core.sections import PromptParams
    from netllama.rendering.renderer import load_renderer

    renderer, rows = load_renderer(folder, PromptParams(template="chat", system_prompt="")), []
    for path in sorted(SEEDS.glob("*.jsonl")):
        for task in load_seeds(SEEDS, path.stem):
            rendered = renderer.render(task.instruction, task.output, task.input)
            start = rendered.answer_start
            rows.append(TokenizedRow(task.id, path.stem, "seed", rendered.input_ids, start, start))
    ranked = sorted(rows, key=lambda row: (row.length, row.id))
    chosen = {ranked[rank * (len(ranked) - 1) // (ROWS - 1)].id for rank in range(ROWS)}
    return [row for row in rows if row.id in chosen]


def time_training(trainer: Any) -> float:
    """Run `trainer.train()`; returns the seconds from its first batch to its last update."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            self.start = time.perf_counter()

        def on_train_end(self, *args: Any, **kwargs: Any) -> None:
            self.end = time.perf_counter()

    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    return clock.end - clock.start


def train_trl(
    rows: Sequence[TokenizedRow], folder: Path, steps: int, seed: int, precision: str, **arguments: Any
) -> TrainedSide:
    """`precision` as `loading.precision` has it; TRL's default is bf16."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    from netllama.models.precision import choose_precision

    dtype = choose_precision(precision)
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    columns = {
        "input_ids": [row.input_ids for row in rows],
        "completion_mask": [[int(t >= row.loss_start) for t in range(row.length)] for row in rows],
    }
    with tempfile.TemporaryDirectory() as output:
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, quantization_config=nf4),
            processing_class=AutoTokenizer.from_pretrained(folder),
            train_dataset=Dataset.from_dict(columns),
            peft_config=LoraConfig(**LORA),
            args=SFTConfig(
                output,
                seed=seed,
                max_steps=steps,
                completion_only_loss=True,
                bf16=dtype == torch.bfloat16,
                **HYPERPARAMETERS,
                **QUIET,
                **arguments,
            ),
        )
        seconds = time_training(trainer)
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    return TrainedSide(model, seconds, int(log[-1]["num_tokens"]), [entry["loss"] for entry in log])


def train_ours(
    rows: Sequence[TokenizedRow],
    folder: Path,
    steps: int,
    seed: int,
    group_by_length: bool = True,
    quantized_weights: str = "cached",
    patches: dict[str, Any] | None = None,
) -> TrainedSide:
    """Train as the stage train does, from the base model to the last update."""
    from pkgutil import resolve_name
    from unittest.mock import patch

    from netllama.core.sections import LoadingParams, LoraParams, TrainParams
    from netllama.models.loading import load_base
    from netllama.training.loop import TrainingRun
    from netllama.training.setup import build_model, make_accelerator

    chosen = {name: value for name, value in LORA.items() if name in LoraParams.model_fields}
    lora = LoraParams(**chosen, use_rslora=False, use_dora=False, init_lora_weights="default")
    shared = {name: value for name, value in HYPERPARAMETERS.items() if name in TrainParams.model_fields}
    params = TrainParams(
        **shared,
        seed=seed,
        max_steps=steps,
        per_device_eval_batch_size=BATCH,
        warmup_ratio=0.0,
        loraplus_lr_ratio=1.0,
        neftune_noise_alpha=0.0,
        group_by_length=group_by_length,
        gradient_checkpointing=False,
        logging_steps=1,
        eval_steps=steps,
        early_stopping_patience=0,
        save_steps=steps,
    )
    with ExitStack() as stack:
        for name, replacement in (patches or {}).items():
            owner, _, attribute = name.rpartition(".")
            stack.enter_context(patch.object(resolve_name(owner), attribute, replacement))
        accelerator = make_accelerator("auto")
        loading = LoadingParams(
            precision="auto", quantization="nf4", double_quantization=True, quantized_weights=quantized_weights
        )
        base = load_base(folder, loading)
        model, _ = build_model(base, lora, params, folder)
        run, ends = TrainingRun(model, rows, (), params, accelerator), []
        update = run._update

        def update_and_note(given: Any) -> None:
            update(given)
            ends.append((time.perf_counter(), run.progress.tokens))

        stack.enter_context(patch.object(run, "_update", update_and_note))
        start = time.perf_counter()
        run.fit()
    (half, before), (end, tokens) = ends[(steps - 1) // 2], ends[-1]
    later = (tokens - before) / (end - half) if steps > 1 else 0.0
    return TrainedSide(model.model, end - start, tokens, [entry["loss"] for entry in run.state.loss], later)


def measure_answer_loss(model: Any, rows: Sequence[TokenizedRow]) -> float:
    """Mean loss over all answer tokens of the rows, in nats."""
    from netllama.models.loading import close_bitsandbytes_trap
    from netllama.scoring.heldout import split_row
    from netllama.scoring.likelihood import score_continuations

    close_bitsandbytes_trap(model)
    scores = score_continuations(model.eval(), [split_row(row) for row in rows], desc="loss")
    return -sum(score for [score] in scores) / sum(row.answer_tokens for row in rows)
