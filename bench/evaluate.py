"""Baseline and evaluate against their peers: closed questions against lm-eval, written answers against transformers.

The bundled SmolLM2-135M in two precisions: in fp32, where all sides must find the same numbers and write the same text,
and in the one that `auto` takes here, where ours must be fast enough. Each side runs in a process of its own, in turn;
its clock begins when the model is loaded and the texts are tokenized. Closed questions are drawn from data/questions:
lm-eval's `HFLM` gets the token ids of each option, as ours does. Written answers, to open and code questions, are
greedy: by ours and by transformers' `generate` in batches of 24, and by `generate` one prompt at a time, 8 of them.
`ask` is what commands.ask does, one prompt at a time, too. `ours, without drafts` has no target: what drafts give
depends on how much the answers repeat.

With one thread (`--threads 1`) processor time is measured, which other work on the machine hardly changes.

Run    python -m bench.evaluate [--check] [--suite written] [--precision bf16] [--questions N] [--prompts N]
                                [--threads N] [--repeats N]
       --check: exit code 1 if a target is missed
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from bench.evaluation_sides import (
    ALONE,
    ANSWER_BATCH,
    ANSWER_TOKENS,
    HARNESS_BATCH,
    EvaluatedSide,
    score_by_harness,
    score_by_ours,
    write_by_ask,
    write_by_library,
    write_by_ours,
)
from bench.hardware import describe_hardware
from netllama.core.cores import count_cores
from netllama.models.precision import choose, describe_precision

CLOSED: dict[str, Callable[[int, str], EvaluatedSide]] = {"lm-eval": score_by_harness, "ours": score_by_ours}
WRITTEN: dict[str, Callable[[int, str], EvaluatedSide]] = {
    "one at a time": lambda number, precision: write_by_library(min(ALONE, number), precision, 1),
    "ask": lambda number, precision: write_by_ask(min(ALONE, number), precision),
    "transformers": lambda number, precision: write_by_library(number, precision, ANSWER_BATCH),
    "ours, without drafts": lambda number, precision: write_by_ours(number, precision, most_drafts=0),
    "ours": write_by_ours,
}
SUITES = {"closed": CLOSED, "written": WRITTEN}
LEAST_RATIO = {"lm-eval": 4.0, "one at a time": 5.0, "transformers": 2.0}
MOST_MEGABYTES = 3000
LARGEST_DIFFERENCE = 1e-3
"""Nats between two log-likelihoods of fp32: sums of up to a few dozen terms, in other orders."""


def measure_side(suite: str, side: str, number: int, precision: str) -> dict[str, object]:
    """One run of a side, in this process."""
    found = SUITES[suite][side](number, precision)
    return {**asdict(found), "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}


def run_side(suite: str, side: str, number: int, precision: str, threads: int) -> tuple[EvaluatedSide, float]:
    """One run of a side in a new process, and its peak memory in MB."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run.json"
        command = [sys.executable, "-m", "bench.evaluate", "--suite", suite, "--side", side, "--number", str(number)]
        command += ["--precision", precision, "--out", str(out)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{side}: failed with exit code {done.returncode}\n{done.stderr[-4000:]}")
        row = json.loads(out.read_text(encoding="utf-8"))
    megabytes = float(row.pop("megabytes"))
    print(f"{suite}, {side}: {row['items'] / row['seconds']:.1f} a second", file=sys.stderr)
    return EvaluatedSide(**row), megabytes


def compare_suite(suite: str, number: int, precision: str, threads: int, repeats: int) -> tuple[bool, bool, str]:
    """Print the table of a suite; returns whether ours is fast and small enough, whether all sides found the same, and
    its part of the line of figures."""
    sides = SUITES[suite]
    runs: dict[str, list[tuple[EvaluatedSide, float]]] = {side: [] for side in sides}
    for _ in range(repeats):
        for side in sides:
            runs[side].append(run_side(suite, side, number, precision, threads))
    speed = {side: statistics.median(each.items / each.seconds for each, _ in own) for side, own in runs.items()}
    memory = {side: max(megabytes for _, megabytes in own) for side, own in runs.items()}
    last = {side: own[-1][0] for side, own in runs.items()}
    ratios = {side: speed["ours"] / speed[side] for side in sides if side != "ours"}
    unit, found = ("questions", "accuracy") if suite == "closed" else ("tokens", "of its answers, as ours")
    print(
        f"\n| {suite}, {precision} | {unit} a second | ours, times as fast | peak MB | {found} |\n|---|---|---|---|---|"
    )
    for side in sides:
        ratio = speed["ours"] / speed[side]
        result = f"{last[side].accuracy:.4f}" if suite == "closed" else count_equal(last[side], last["ours"])
        print(f"| {side} | {speed[side]:.1f} | {ratio:.2f} | {memory[side]:,.0f} | {result} |")
    fast = all(ratio >= LEAST_RATIO.get(side, 0) for side, ratio in ratios.items()) and memory["ours"] <= MOST_MEGABYTES
    times = " and ".join(f"{ratio:.1f} times {side}" for side, ratio in ratios.items())
    figure = f"{suite}: {speed['ours']:.1f} {unit} a second, {times}, {memory['ours']:,.0f} MB, "
    if suite == "closed":
        pairs = zip(last["ours"].log_likelihoods, last["lm-eval"].log_likelihoods, strict=True)
        apart = max(abs(one - other) for own, theirs in pairs for one, other in zip(own, theirs, strict=True))
        equal = last["ours"].accuracy == last["lm-eval"].accuracy and apart <= LARGEST_DIFFERENCE
        figure += f"log-likelihoods at most {apart:.1e} nats apart"
    else:
        equal = all(last[side].answers == last["ours"].answers[: len(last[side].answers)] for side in sides)
        figure += "the same text" if equal else "other text"
    return fast, equal, figure


def count_equal(side: EvaluatedSide, ours: EvaluatedSide) -> str:
    same = sum(one == other for one, other in zip(side.answers, ours.answers, strict=False))
    return f"{same} of {len(side.answers)}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Scoring and answering against lm-eval and transformers.")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--questions", type=int, default=120, help="closed questions (120)")
    parser.add_argument("--prompts", type=int, default=ANSWER_BATCH, help=f"answers to write ({ANSWER_BATCH})")
    parser.add_argument("--threads", type=int, default=count_cores(), help="of each side (one per core)")
    parser.add_argument("--repeats", type=int, default=3, help="runs per side (3)")
    parser.add_argument("--suite", choices=SUITES, help="only this one")
    parser.add_argument("--precision", help="only this one, as loading.precision (fp32, and what auto takes)")
    parser.add_argument("--side", help="of a suite, as the tables name them: run it once, in this process")
    parser.add_argument("--number", type=int, help="for --side: questions or prompts")
    parser.add_argument("--out", type=Path, help="for --side: a JSON file")
    given = parser.parse_args()
    if given.side:
        found = measure_side(given.suite, given.side, given.number, given.precision)
        given.out.write_text(json.dumps(found), encoding="utf-8")
        return
    clock = "of the processor" if given.threads == 1 else "by the clock"
    print(f"{describe_hardware()}; {describe_precision('auto')};")
    print(f"{given.repeats} runs a side, in turn, with {given.threads} threads, in seconds {clock};")
    print(f"{given.questions} closed questions, lm-eval in batches of {HARNESS_BATCH} texts;")
    print(f"{given.prompts} answers of up to {ANSWER_TOKENS} tokens in batches of {ANSWER_BATCH}")
    numbers, figures, met = {"closed": given.questions, "written": given.prompts}, [], True
    auto = choose("auto")[0]
    for precision in dict.fromkeys([given.precision] if given.precision else ["fp32", auto]):
        for suite in [given.suite] if given.suite else SUITES:
            fast, equal, figure = compare_suite(suite, numbers[suite], precision, given.threads, given.repeats)
            met = met and (fast or precision != auto) and (equal or precision != "fp32")
            figures.append(f"{precision}, {figure}")
    print(f"\n{'; '.join(figures)}")
    if given.check and not met:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
