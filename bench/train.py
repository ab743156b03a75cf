"""QLoRA training on the CPU against TRL's SFTTrainer: real tokens a second, peak memory, loss of the trained model.

The bundled SmolLM2-135M learns the answers of 128 hand-written seed tasks, one epoch of 32 steps: the same rows,
NF4 with double quantization, r=64 on all linear layers, dropout 0.1, constant learning rate, bf16, fused AdamW. What
isn't a hyperparameter is TRL's default, gradient checkpointing included; `trl grouped` differs from `trl` in
`group_by_length` only. Each run is a process of its own, and its clock runs from the first batch to the last update:
imports, loading and tokenizing are before it. Real tokens are those of the rows, without padding. The loss of all
sides is measured afterwards by one function, the stage evaluate's, as a mean over all answer tokens of all rows.
Repeats differ in the seed (order, dropout, the adapter's first weights), so that their range is the loss's noise.
The ablation's speed is that of the second half of the steps: what torch.compile needs before is in the seconds only.

Run    python -m bench.train [--check] [--ablation] [--repeats N] [--steps N]
       --check: exit code 1 where a target is missed; --ablation: ours, with one technique switched off at a time
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.ablations import ABLATIONS
from bench.hardware import describe_hardware, measure_matmul_speed
from netllama.core.tokenized_rows import TokenizedRow

SEEDS = Path("data/seeds")
ROWS, BATCH, SEED = 128, 4, 42
LORA = {"r": 64, "lora_alpha": 16, "lora_dropout": 0.1, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
HYPERPARAMETERS = {
    "per_device_train_batch_size": BATCH,
    "gradient_accumulation_steps": 1,
    "learning_rate": 1e-4,
    "lr_scheduler_type": "constant",
    "weight_decay": 0.0,
    "max_grad_norm": 0.3,
    "optim": "adamw_torch_fused",
    "bf16": True,
}
# No difference in what is computed: what is logged, and that nothing is saved while the clock runs.
QUIET = {"use_cpu": True, "logging_steps": 1, "save_strategy": "no", "report_to": "none", "disable_tqdm": True}

SIDES = ("trl", "trl grouped", "ours")
LEAST_RATIO = {"trl": 4.0, "trl grouped": 2.3}
MOST_MEMORY, LOSS_TOLERANCE = 0.6, 0.02


@dataclass
class Trained:
    model: Any
    seconds: float
    tokens: int
    """Real tokens of the batches trained on."""
    losses: list[float]
    """Of each step's batch, before its update."""
    later: float = 0.0
    """Real tokens a second of the second half of the steps; ours only."""


def tokenized_rows(folder: Path) -> list[TokenizedRow]:
    """ROWS seed tasks, evenly spaced over all of them in the order of their length, in the files' order."""
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


def clocked(trainer: Any) -> float:
    """Seconds of `trainer.train()` from the first batch to the last update."""
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


def train_trl(rows: Sequence[TokenizedRow], folder: Path, steps: int, seed: int, **arguments: Any) -> Trained:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    columns = {
        "input_ids": [row.input_ids for row in rows],
        "completion_mask": [[int(t >= row.loss_start) for t in range(row.length)] for row in rows],
    }
    with tempfile.TemporaryDirectory() as output:
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, quantization_config=nf4),
            processing_class=AutoTokenizer.from_pretrained(folder),
            train_dataset=Dataset.from_dict(columns),
            peft_config=LoraConfig(**LORA),
            args=SFTConfig(
                output, seed=seed, max_steps=steps, completion_only_loss=True, **HYPERPARAMETERS, **QUIET, **arguments
            ),
        )
        seconds = clocked(trainer)
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    return Trained(model, seconds, int(log[-1]["num_tokens"]), [entry["loss"] for entry in log])


def train_ours(
    rows: Sequence[TokenizedRow],
    folder: Path,
    steps: int,
    seed: int,
    group_by_length: bool = True,
    quantized_weights: str = "cached",
    patches: dict[str, Any] | None = None,
) -> Trained:
    """What the stage train does, from the base model to the last update."""
    from pkgutil import resolve_name
    from unittest.mock import patch

    from netllama.core.sections import LoadingParams, LoraParams, TrainParams
    from netllama.models.loading import load_base
    from netllama.training.loop import TrainingRun
    from netllama.training.setup import build_model, make_accelerator

    lora = LoraParams(**LORA, use_rslora=False, use_dora=False, init_lora_weights="default")
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
        accelerator = make_accelerator("bf16")
        loading = LoadingParams(
            precision="bf16", quantization="nf4", double_quantization=True, quantized_weights=quantized_weights
        )
        base = load_base(folder, loading)
        model, _ = build_model(base, lora, params, folder)
        run, ends = TrainingRun(model, rows, (), params, accelerator), []
        update = run._update

        def timed(batches: list[list[int]]) -> None:
            update(batches)
            ends.append((time.perf_counter(), run.progress.tokens))

        stack.enter_context(patch.object(run, "_update", timed))
        start = time.perf_counter()
        run.fit()
    (half, before), (end, tokens) = ends[(steps - 1) // 2], ends[-1]
    later = (tokens - before) / (end - half) if steps > 1 else 0.0
    return Trained(model.model, end - start, tokens, [entry["loss"] for entry in run.state.loss], later)


def answer_loss(model: Any, rows: Sequence[TokenizedRow]) -> float:
    """The mean over all answer tokens, in nats."""
    from netllama.models.loading import close_bitsandbytes_trap
    from netllama.scoring.likelihood import compute_log_likelihoods

    close_bitsandbytes_trap(model)
    inputs = [(row.input_ids, row.answer_start) for row in rows]
    scores = compute_log_likelihoods(model.eval(), inputs, 8, desc="loss")
    return -sum(scores) / sum(row.answer_tokens for row in rows)


def flops(rows: Sequence[TokenizedRow], config: Any) -> float:
    """Floating-point operations that one QLoRA epoch over `rows` can't do without, on a Llama of `config`.

    A matrix of n weights costs 2n a token forward and 2n backward to its input; only a LoRA matrix costs another 2n
    for its own gradient. The head is needed where the next token is an answer's. Causal attention of T tokens is
    T^2 / 2 products of queries and keys and as many of weights and values, each with two more backward. Left out:
    padding, anything computed twice, and what is no matrix product (norms, softmax, activations, the optimizer).
    """
    hidden, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    size = hidden // heads
    queries, keys = heads * size, config.num_key_value_heads * size
    shapes = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden)]
    shapes += [(hidden, inner), (hidden, inner), (inner, hidden)]
    frozen = config.num_hidden_layers * sum(ins * outs for ins, outs in shapes)
    adapter = config.num_hidden_layers * sum(LORA["r"] * (ins + outs) for ins, outs in shapes)
    tokens = sum(row.length for row in rows)
    answers = sum(row.answer_tokens for row in rows)
    attention = config.num_hidden_layers * 6 * queries * sum(row.length**2 for row in rows)
    return tokens * (4 * frozen + 6 * adapter) + answers * 4 * hidden * config.vocab_size + attention


def measure(side: str, steps: int, seed: int, without: str, scored: bool) -> dict[str, Any]:
    """One run, in this process; `scored`: and the loss of what it made."""
    from transformers import AutoConfig

    from netllama.core.sections import BUNDLED_MODEL
    from netllama.models.model_reference import resolve_model

    folder = resolve_model(BUNDLED_MODEL, "").folder
    rows = tokenized_rows(folder)
    if side == "ours":
        run = train_ours(rows, folder, steps, seed, **(ABLATIONS[without] if without else {}))
    else:
        grouped = {"train_sampling_strategy": "group_by_length"} if side == "trl grouped" else {}
        run = train_trl(rows, folder, steps, seed, **grouped)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lengths = [row.length for row in rows]
    return {
        "seconds": run.seconds,
        "tokens": run.tokens,
        "tokens_a_second": run.tokens / run.seconds,
        "peak_megabytes": peak,
        "later_tokens_a_second": run.later,
        "losses": run.losses,
        "final_loss": answer_loss(run.model, rows) if scored else float("nan"),
        "matmul_flops_a_second": measure_matmul_speed(),
        "flops_a_token": flops(rows, AutoConfig.from_pretrained(folder)) / sum(lengths),
        "lengths": [min(lengths), sum(lengths) / len(lengths), max(lengths), sum(lengths)],
    }


def run(side: str, steps: int, seed: int, *options: str) -> dict[str, Any]:
    """One run, in a process of its own with a thread for each core."""
    environment = os.environ | {"OMP_NUM_THREADS": str(os.cpu_count()), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run.json"
        command = [sys.executable, "-m", "bench.train", "--side", side, "--steps", str(steps), "--seed", str(seed)]
        command += [*options, "--out", str(out)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{side}: exit code {done.returncode}\n{done.stderr[-4000:]}")
        return dict(json.loads(out.read_text(encoding="utf-8")))


def median(runs: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.median(each[key] for each in runs)


def compare(repeats: int, steps: int) -> bool:
    """Print the table and the line of figures; True where every target is met."""
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for repeat in range(repeats):
        for side in SIDES:
            runs[side].append(run(side, steps, SEED + repeat))
            last = runs[side][-1]
            print(f"{side}, seed {SEED + repeat}: {last['tokens_a_second']:.0f} tokens a second", file=sys.stderr)
    least, mean, most, total = runs["ours"][0]["lengths"]
    print(f"{describe_hardware()}; {ROWS} rows of {least} to {most} tokens, {mean:.0f} on average, {total:,} in all;")
    print(f"{steps} steps of {BATCH} rows, {repeats} runs a side, alternating\n")
    print("| side | real tokens a second | ours, times as fast | peak MB | ours, of it | loss | lowest and highest |")
    print("|---|---|---|---|---|---|---|")
    speed, peak, loss, noise = {}, {}, {}, LOSS_TOLERANCE
    for side in SIDES:
        speed[side], peak[side] = median(runs[side], "tokens_a_second"), median(runs[side], "peak_megabytes")
        loss[side] = median(runs[side], "final_loss")
    for side in SIDES:
        losses = [each["final_loss"] for each in runs[side]]
        noise = max(noise, max(losses) - min(losses))
        print(
            f"| {side} | {speed[side]:.1f} | {speed['ours'] / speed[side]:.2f} | {peak[side]:,.0f} "
            f"| {peak['ours'] / peak[side]:.2f} | {loss[side]:.4f} | {min(losses):.4f} to {max(losses):.4f} |"
        )
    limit = median(runs["ours"], "matmul_flops_a_second")
    token = runs["ours"][0]["flops_a_token"]
    ratios = {side: speed["ours"] / speed[side] for side in LEAST_RATIO}
    memory, apart = peak["ours"] / peak["trl"], abs(loss["ours"] - loss["trl"])
    print(
        f"\nbf16 matrix product: {limit / 1e9:.0f} GFLOP/s; {token / 1e6:.0f} MFLOP a token, so at most "
        f"{limit / token:.0f} tokens a second"
    )
    print(
        f"training: {speed['ours']:.0f} real tokens a second, {ratios['trl']:.2f} times TRL's defaults, "
        f"{ratios['trl grouped']:.2f} times TRL grouped by length, at {memory:.2f} of its peak memory; losses "
        f"{apart:.4f} apart (noise {noise:.4f}); {speed['ours'] * token / limit:.0%} of the bf16 matmul limit"
    )
    return all(ratios[side] >= LEAST_RATIO[side] for side in ratios) and memory <= MOST_MEMORY and apart <= noise


def ablate(steps: int) -> None:
    """Print ours with one technique switched off at a time, one run each."""
    print(f"{describe_hardware()}; {steps} steps of {BATCH} rows, one run each\n")
    print("| ours without | seconds | tokens a second, later | of all together | peak MB | mean loss of the steps |")
    print("|---|---|---|---|---|---|")
    whole = 0.0
    for without in ("", *ABLATIONS):
        one = run("ours", steps, SEED, "--unscored", "--without", without)
        whole = whole or one["later_tokens_a_second"]
        print(
            f"| {without or '(all together)'} | {one['seconds']:.0f} | {one['later_tokens_a_second']:.1f} "
            f"| {one['later_tokens_a_second'] / whole:.2f} | {one['peak_megabytes']:,.0f} "
            f"| {statistics.mean(one['losses']):.4f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Training against TRL's SFTTrainer.")
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    parser.add_argument("--ablation", action="store_true", help="ours, with one technique switched off at a time")
    parser.add_argument("--repeats", type=int, default=3, help="runs a side (3)")
    parser.add_argument("--steps", type=int, default=ROWS // BATCH, help=f"of a run ({ROWS // BATCH}: an epoch)")
    parser.add_argument("--side", choices=SIDES, help="one run in this process")
    parser.add_argument("--seed", type=int, default=SEED, help="of --side")
    parser.add_argument("--without", default="", help="of --side ours: a technique to switch off")
    parser.add_argument("--unscored", action="store_true", help="of --side: without the loss of what it made")
    parser.add_argument("--out", type=Path, help="of --side: a JSON file instead of the standard output")
    given = parser.parse_args()
    if given.side:
        figures = json.dumps(measure(given.side, given.steps, given.seed, given.without, not given.unscored))
        if given.out:
            given.out.write_text(figures, encoding="utf-8")
        else:
            print(figures)
    elif given.ablation:
        ablate(given.steps)
    elif not compare(given.repeats, given.steps) and given.check:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
