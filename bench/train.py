"""QLoRA training on the CPU against TRL's SFTTrainer: real tokens a second, peak memory, loss of the trained model.

The bundled SmolLM2-135M learns the answers of 128 hand-written seed tasks in one epoch of 32 steps. Both sides use the
same rows, NF4 with double quantization, r=64 on all linear layers, dropout 0.1, a constant learning rate, bf16 and
fused AdamW. Everything else is TRL's default, including gradient checkpointing; `trl grouped` differs from `trl` only
in `group_by_length`. Each run has its own process, and its clock runs from the first batch to the last update, without
imports, loading and tokenizing. Real tokens are those of the rows, without padding. Afterwards one function, the stage
evaluate's, measures the loss of all sides, as a mean over all answer tokens of all rows. Repeats differ in the seed
(order, dropout, the adapter's initial weights), so their range is the noise of the loss. The ablation's speed is that
of the second half of the steps; the time that torch.compile takes before that counts in the seconds only.

Run    python -m bench.train [--check] [--ablation] [--repeats N] [--steps N]
       --check: exit code 1 if a target is missed; --ablation: ours, with one technique switched off at a time
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.ablations import ABLATIONS
from bench.hardware import describe_hardware, measure_matmul_speed
from bench.training_sides import (
    BATCH,
    LORA,
    ROWS,
    measure_answer_loss,
    tokenize_seed_tasks,
    train_ours,
    train_trl,
)
from netllama.core.cores import count_cores
from netllama.core.tokenized_rows import TokenizedRow

SEED = 42
SIDES = ("trl", "trl grouped", "ours")
LEAST_RATIO = {"trl": 4.0, "trl grouped": 2.3}
MOST_MEMORY, LOSS_TOLERANCE = 0.6, 0.02


def count_flops(rows: Sequence[TokenizedRow], config: Any) -> float:
    """The least number of floating-point operations that a QLoRA epoch over `rows` takes, on a Llama of `config`.

    A matrix of n weights costs 2n per token forward and 2n backward to its input; only a LoRA matrix costs another 2n
    for its own gradient. The head is needed only before answer tokens. Causal attention of T tokens takes T^2 / 2
    products of queries and keys and as many of weights and values, each with two more backward. Left out: padding,
    anything computed twice, and everything but matrix products (norms, softmax, activations, the optimizer).
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


def measure_side(side: str, steps: int, seed: int, without: str, scored: bool) -> dict[str, Any]:
    """One run of a side, in this process; `scored` adds the loss of the trained model."""
    from transformers import AutoConfig

    from netllama.core.sections import BUNDLED_MODEL
    from netllama.models.model_reference import resolve_model

    folder = resolve_model(BUNDLED_MODEL, "").folder
    rows = tokenize_seed_tasks(folder)
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
        "final_loss": measure_answer_loss(run.model, rows) if scored else float("nan"),
        "matmul_flops_a_second": measure_matmul_speed(),
        "flops_a_token": count_flops(rows, AutoConfig.from_pretrained(folder)) / sum(lengths),
        "lengths": [min(lengths), sum(lengths) / len(lengths), max(lengths), sum(lengths)],
    }


def run_side(side: str, steps: int, seed: int, *options: str) -> dict[str, Any]:
    """One run of a side, in a new process with one thread per core."""
    environment = os.environ | {"OMP_NUM_THREADS": str(count_cores()), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run.json"
        command = [sys.executable, "-m", "bench.train", "--side", side, "--steps", str(steps), "--seed", str(seed)]
        command += [*options, "--out", str(out)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{side}: failed with exit code {done.returncode}\n{done.stderr[-4000:]}")
        return dict(json.loads(out.read_text(encoding="utf-8")))


def compute_median(runs: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.median(each[key] for each in runs)


def compare_sides(repeats: int, steps: int) -> bool:
    """Print the table and the line of figures; returns True if every target is met."""
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for repeat in range(repeats):
        for side in SIDES:
            runs[side].append(run_side(side, steps, SEED + repeat))
            last = runs[side][-1]
            print(f"{side}, seed {SEED + repeat}: {last['tokens_a_second']:.0f} tokens a second", file=sys.stderr)
    least, mean, most, total = runs["ours"][0]["lengths"]
    print(f"{describe_hardware()}; {ROWS} rows of {least} to {most} tokens, {mean:.0f} on average, {total:,} in all;")
    print(f"{steps} steps of {BATCH} rows, {repeats} runs a side, alternating\n")
    print("| side | real tokens a second | ours, times as fast | peak MB | ours, of it | loss | lowest and highest |")
    print("|---|---|---|---|---|---|---|")
    speed, peak, loss, noise = {}, {}, {}, LOSS_TOLERANCE
    for side in SIDES:
        speed[side], peak[side] = (
            compute_median(runs[side], "tokens_a_second"),
            compute_median(runs[side], "peak_megabytes"),
        )
        loss[side] = compute_median(runs[side], "final_loss")
    for side in SIDES:
        losses = [each["final_loss"] for each in runs[side]]
        noise = max(noise, max(losses) - min(losses))
        print(
            f"| {side} | {speed[side]:.1f} | {speed['ours'] / speed[side]:.2f} | {peak[side]:,.0f} "
            f"| {peak['ours'] / peak[side]:.2f} | {loss[side]:.4f} | {min(losses):.4f} to {max(losses):.4f} |"
        )
    limit = compute_median(runs["ours"], "matmul_flops_a_second")
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


def compare_ablations(steps: int) -> None:
    """Print a table of ours with one technique switched off at a time, one run each."""
    print(f"{describe_hardware()}; {steps} steps of {BATCH} rows, one run each\n")
    print("| ours without | seconds | tokens a second, later | of all together | peak MB | mean loss of the steps |")
    print("|---|---|---|---|---|---|")
    whole = 0.0
    for without in ("", *ABLATIONS):
        one = run_side("ours", steps, SEED, "--unscored", "--without", without)
        whole = whole or one["later_tokens_a_second"]
        print(
            f"| {without or '(all together)'} | {one['seconds']:.0f} | {one['later_tokens_a_second']:.1f} "
            f"| {one['later_tokens_a_second'] / whole:.2f} | {one['peak_megabytes']:,.0f} "
            f"| {statistics.mean(one['losses']):.4f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Training against TRL's SFTTrainer.")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--ablation", action="store_true", help="ours, with one technique switched off at a time")
    parser.add_argument("--repeats", type=int, default=3, help="runs per side (3)")
    parser.add_argument("--steps", type=int, default=ROWS // BATCH, help=f"steps per run ({ROWS // BATCH}, one epoch)")
    parser.add_argument("--side", choices=SIDES, help="run this side once, in this process")
    parser.add_argument("--seed", type=int, default=SEED, help="for --side")
    parser.add_argument("--without", default="", help="for --side ours: a technique to switch off")
    parser.add_argument("--unscored", action="store_true", help="for --side: skip the loss of the trained model")
    parser.add_argument("--out", type=Path, help="for --side: a JSON file instead of the standard output")
    given = parser.parse_args()
    if given.side:
        figures = json.dumps(measure_side(given.side, given.steps, given.seed, given.without, not given.unscored))
        if given.out:
            given.out.write_text(figures, encoding="utf-8")
        else:
            print(figures)
    elif given.ablation:
        compare_ablations(given.steps)
    elif not compare_sides(given.repeats, given.steps) and given.check:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
