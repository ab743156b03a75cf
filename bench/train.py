"""QLoRA training on the CPU against TRL's SFTTrainer: real tokens a second, peak memory, loss of the trained model.

The bundled SmolLM2-135M learns the answers of 128 hand-written seed tasks in one epoch of 32 steps. Both sides use the
same rows, NF4 with double quantization, r=64 on all linear layers, dropout 0.1, a constant learning rate and fused
AdamW. Everything else of `trl` is TRL's default, including bf16 and gradient checkpointing; `trl grouped` differs from
it only in `group_by_length`; `trl best` is grouped, without checkpointing, and in the precision that `auto` takes here,
as ours is. Each run has its own process, and its clock runs from the first batch to the last update, without
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
from bench.flops import count_training_flops
from bench.hardware import describe_hardware, measure_matmul_speeds
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
from netllama.models.precision import describe_precision

SEED = 42
GROUPED = {"train_sampling_strategy": "group_by_length"}
TRL: dict[str, dict[str, Any]] = {
    "trl": {"precision": "bf16"},
    "trl grouped": {"precision": "bf16", **GROUPED},
    "trl best": {"precision": "auto", "gradient_checkpointing": False, **GROUPED},
}
SIDES = (*TRL, "ours")
LEAST_RATIO = {"trl": 4.0, "trl grouped": 2.3, "trl best": 3.0}
MOST_MEMORY, LOSS_TOLERANCE = {"trl": 0.6, "trl best": 1.0}, 0.02


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
        run = train_trl(rows, folder, steps, seed, **TRL[side])
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
        "matmul_flops_a_second": measure_matmul_speeds(),
        "flops_a_token": count_training_flops(rows, AutoConfig.from_pretrained(folder), LORA["r"]) / sum(lengths),
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
    measured = [run["matmul_flops_a_second"] for run in runs["ours"]]
    speeds = {precision: statistics.median(each[precision] for each in measured) for precision in measured[0]}
    faster = max(speeds, key=speeds.__getitem__)
    limit = speeds[faster]
    token = runs["ours"][0]["flops_a_token"]
    ratios = {side: speed["ours"] / speed[side] for side in LEAST_RATIO}
    memory, apart = {side: peak["ours"] / peak[side] for side in MOST_MEMORY}, abs(loss["ours"] - loss["trl best"])
    products = ", ".join(f"{precision} {each / 1e9:,.0f} GFLOP/s" for precision, each in speeds.items())
    print(
        f"\nmatrix product: {products}; {describe_precision('auto')}; {token / 1e6:.0f} MFLOP a token, so at most "
        f"{limit / token:,.0f} tokens a second"
    )
    print(
        f"training: {speed['ours']:.0f} real tokens a second, {ratios['trl']:.2f} times TRL's defaults, "
        f"{ratios['trl grouped']:.2f} times TRL grouped by length, {ratios['trl best']:.2f} times TRL at its best, at "
        f"{memory['trl']:.2f} of its defaults' and {memory['trl best']:.2f} of its best's peak memory; losses, of "
        f"which TRL's best has the same precision, {apart:.4f} apart (noise {noise:.4f}); "
        f"{speed['ours'] * token / limit:.0%} of the limit of {faster}"
    )
    small = all(memory[side] <= MOST_MEMORY[side] for side in memory)
    return all(ratios[side] >= LEAST_RATIO[side] for side in ratios) and small and apart <= noise


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
