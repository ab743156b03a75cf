"""Written answers on a GPU: a CUDA graph a step against transformers' `generate`, with its dynamic cache and compiled.

Llamas of 1.1B and 8B shape with random weights in bf16, or the bundled profile's packed NF4 (`--packed`); prompts of
mixed lengths, all of them in one batch. `dynamic` is `generate` as it comes; `compiled` is `generate` with
`cache_implementation="static"`, for which it compiles the model: its first run is reported, too, since an evaluation
has only that one. `ours` is what baseline and evaluate do.

Run    python -m bench.write_cuda [--check] [--shapes 1.1B 8B] [--rows N] [--tokens N] [--packed] [--seconds N]
       python -m bench.write_cuda --tiny      the same on a CPU with a tiny model, to test this script: no figure counts
       --check: exit code 1 if ours is not the fastest
"""

import argparse
import gc
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch

from bench.random_llamas import make_base, make_rows

LONGEST, SEED = 512, 42
LEAST_RATIO = 1.0
Answers = list[list[int]]
Side = Callable[[Any, Answers, int], Answers]


def write_by_library(model: Any, prompts: Answers, tokens: int, **options: Any) -> Answers:
    """By transformers' generate, padded on the left."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    greedy = {"do_sample": False, "max_new_tokens": tokens, "min_new_tokens": tokens, "pad_token_id": 0}
    written: Answers = model.generate(input_ids=ids, attention_mask=mask, **greedy, **options)[:, width:].tolist()
    return written


def write_by_ours(model: Any, prompts: Answers, tokens: int) -> Answers:
    from netllama.scoring.generation import generate_answers

    return generate_answers(model, prompts, -1, len(prompts), tokens)


SIDES: dict[str, Side] = {
    "ours": write_by_ours,
    "dynamic": write_by_library,
    "compiled": lambda model, prompts, tokens: write_by_library(model, prompts, tokens, cache_implementation="static"),
}


def measure_seconds(write: Side, model: Any, prompts: Answers, tokens: int) -> tuple[float, Answers]:
    start = time.perf_counter()
    answers = write(model, prompts, tokens)
    return time.perf_counter() - start, answers


def compare_sides(shape: str, rows: int, tokens: int, packed: bool, deadline: float) -> bool:
    """Print a table as it is measured; whether ours is the fastest. After the deadline no further side begins."""
    from netllama.models.loading import dequantize_model

    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    model = make_base(shape, torch.bfloat16, device, SEED)
    if not packed:
        model = dequantize_model(model, torch.bfloat16)
    model.generation_config.eos_token_id = None
    prompts = [row.input_ids[: row.loss_start] for row in make_rows(rows, LONGEST, model.config.vocab_size, SEED)]
    print(f"\n{shape}, {'packed NF4' if packed else 'bf16'}, {rows} answers of {tokens} tokens\n")
    print("| side | tokens a second | of the first run | answers as ours |\n|---|---|---|---|", flush=True)
    speeds: dict[str, float] = {}
    answers: dict[str, Answers] = {}
    for side in SIDES:
        if time.perf_counter() > deadline:
            print(f"| {side} | not measured: out of time | | |", flush=True)
            continue
        runs = [measure_seconds(SIDES[side], model, prompts, tokens) for _ in range(2)]
        first, speeds[side] = (rows * tokens / seconds for seconds, _ in runs)
        answers[side] = runs[1][1]
        same = sum(one == other for one, other in zip(answers[side], answers["ours"], strict=True))
        print(f"| {side} | {speeds[side]:,.0f} | {first:,.0f} | {same} of {rows} |", flush=True)
    del model
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    ratios = {side: speeds["ours"] / speed for side, speed in speeds.items() if side != "ours"}
    said = " and ".join(f"{ratio:.2f} times {side}" for side, ratio in ratios.items())
    print(f"\n{shape}: {speeds['ours']:,.0f} tokens a second, {said}", flush=True)
    return bool(ratios) and all(ratio >= LEAST_RATIO for ratio in ratios.values())


def main() -> None:
    parser = argparse.ArgumentParser(description="Written answers on a GPU against transformers' generate.")
    parser.add_argument("--check", action="store_true", help="exit with 1 if ours is not the fastest")
    parser.add_argument("--shapes", nargs="+", choices=["1.1B", "8B", "13B"], default=["1.1B", "8B"])
    parser.add_argument("--rows", type=int, default=48, help="prompts, in one batch (48)")
    parser.add_argument("--tokens", type=int, default=128, help="of each answer (128)")
    parser.add_argument("--packed", action="store_true", help="weights stay in NF4")
    parser.add_argument("--seconds", type=float, default=80, help="after so many no further side begins (80)")
    parser.add_argument("--tiny", action="store_true", help="a tiny model, on the CPU where there is no GPU")
    given = parser.parse_args()
    if not torch.cuda.is_available() and not given.tiny:
        raise SystemExit("no CUDA device: --tiny tests this script on a CPU")
    deadline = time.perf_counter() + given.seconds
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "a CPU"
    print(f"{card}; torch {version('torch')}, transformers {version('transformers')}", flush=True)
    shapes = ["tiny"] if given.tiny else given.shapes
    met = [compare_sides(shape, given.rows, given.tokens, given.packed, deadline) for shape in shapes]
    if given.check and not all(met):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
