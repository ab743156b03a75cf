"""QLoRA training on a GPU against TRL's SFTTrainer: real tokens a second, peak memory and loss on the same rows.

Llamas of 1.1B, 8B and 13B shape with random weights, NF4 with double quantization, r=64 on all linear layers, dropout
0.1, batches of 4 rows of up to 512 tokens, a constant learning rate and fused AdamW, in bf16; the 13B shape in fp16,
too, as the recipe of BGP-LLaMA has it. `trl` is TRL's default; `trl grouped` differs only in its length grouping;
`trl best` is grouped, without gradient checkpointing and with liger-kernel where it is installed; `trl padding-free`
lays rows end to end instead of grouping. `ours` keeps weights in the form that memory decides, `ours packed` keeps them
packed and checkpoints gradients, as TRL's default does; `ours compiled` (with --compiled) is ours with torch.compile of
each layer, which nothing else uses. The first steps of a side warm it up and are not timed.
Afterwards one function measures the loss of all sides on the same rows.

Run    python -m bench.train_cuda [--check] [--shapes 13B] [--steps N] [--seconds N] [--compiled]
       python -m bench.train_cuda --tiny      the same on a CPU with a tiny model, to test this script: no figure counts
       --check: exit code 1 if a target is missed
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from bench.flops import count_training_flops
from bench.random_llamas import SHAPES, make_base, make_rows
from bench.training_sides import BATCH, HYPERPARAMETERS, LORA
from netllama.core.tokenized_rows import TokenizedRow

GROUPED = {"train_sampling_strategy": "group_by_length"}
TRL: dict[str, dict[str, Any]] = {
    "trl": {},
    "trl grouped": GROUPED,
    "trl best": {"gradient_checkpointing": False, **GROUPED},
    "trl padding-free": {"gradient_checkpointing": False, "padding_free": True, "max_length": None},
}
COMPILED = "ours compiled"
SIDES = (*TRL, "ours", "ours packed", COMPILED)
LONGEST, WARMUP, SCORED, SEED = 512, 3, 16, 42
LEAST = {"trl": 2.0, "best of trl": 1.3}
LOSS_TOLERANCE = 0.05


@dataclass(frozen=True)
class Measured:
    tokens_a_second: float
    """Real tokens, without padding, after the warm-up."""
    peak_gigabytes: float
    loss: float
    """After training, mean over the trained tokens of the first rows."""


class Clock:
    """When how many tokens were done, at the end of the warm-up and of the run."""

    def __init__(self, steps: int) -> None:
        self.steps, self.step, self.noted = steps, 0, {}

    def note(self, tokens: int) -> None:
        self.step += 1
        if self.step in (min(WARMUP, self.steps - 1), self.steps):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.noted[self.step] = (time.perf_counter(), tokens)

    def measure_speed(self) -> float:
        (start, before), (end, after) = self.noted.values()
        return (after - before) / (end - start)


def train_trl(base: Any, rows: Sequence[TokenizedRow], steps: int, precision: str, options: dict[str, Any]) -> Any:
    """The trained model and the clock."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    clock = Clock(steps)

    class Notes(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
            if "num_tokens" in (logs or {}) and clock.step < steps:
                clock.note(int(logs["num_tokens"]))

    columns = {
        "input_ids": [row.input_ids for row in rows],
        "completion_mask": [[int(t >= row.loss_start) for t in range(row.length)] for row in rows],
    }
    with tempfile.TemporaryDirectory() as output:
        trainer = SFTTrainer(
            model=base,
            processing_class=make_tokenizer(base.config.vocab_size),
            train_dataset=Dataset.from_dict(columns),
            peft_config=LoraConfig(**LORA),
            callbacks=[Notes()],
            args=SFTConfig(
                output,
                seed=SEED,
                max_steps=steps,
                completion_only_loss=True,
                bf16=precision == "bf16",
                fp16=precision == "fp16",
                use_cpu=not torch.cuda.is_available(),
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                **HYPERPARAMETERS,
                **options,
            ),
        )
        trainer.train()
    return trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False), clock


def make_tokenizer(vocabulary: int) -> Any:
    """TRL wants one; the rows are token ids already."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {f"t{number}": number for number in range(vocabulary)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="t0")), eos_token="t2", pad_token="t0"
    )


def train_ours(
    base: Any, rows: Sequence[TokenizedRow], steps: int, precision: str, packed: bool, compiled: bool
) -> Any:
    """The trained model and the clock."""
    from accelerate.state import AcceleratorState

    from netllama.core.sections import LoadingParams, LoraParams, TrainParams
    from netllama.models.loading import dequantize_model, keeps_cached
    from netllama.training.loop import TrainingRun
    from netllama.training.setup import build_model, make_accelerator, plan_workload

    chosen = {name: value for name, value in LORA.items() if name in LoraParams.model_fields}
    lora = LoraParams(**chosen, use_rslora=False, use_dora=False, init_lora_weights="default")
    shared = {name: value for name, value in HYPERPARAMETERS.items() if name in TrainParams.model_fields}
    params = TrainParams(
        **shared,
        seed=SEED,
        max_steps=steps,
        per_device_eval_batch_size=BATCH,
        warmup_ratio=0.0,
        loraplus_lr_ratio=1.0,
        neftune_noise_alpha=0.0,
        group_by_length=True,
        gradient_checkpointing=packed,
        logging_steps=1,
        eval_steps=steps,
        early_stopping_patience=0,
        save_steps=steps,
    )
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = make_accelerator(precision)
    form = "packed" if packed else "auto"
    loading = LoadingParams(precision=precision, quantization="nf4", double_quantization=True, quantized_weights=form)
    work = plan_workload(lora, params, [row.length for row in rows])
    if keeps_cached(base, loading, work, base.dtype):
        base = dequantize_model(base, base.dtype)
    model, _ = build_model(base, lora, params, Path())
    if compiled:
        for layer in base.model.layers:
            layer.compile(dynamic=True)
    run, clock = TrainingRun(model, rows, (), params, accelerator), Clock(steps)
    update = run._update

    def update_and_note(given: Any) -> None:
        update(given)
        clock.note(run.progress.tokens)

    run._update = update_and_note  # type: ignore[method-assign]
    run.fit()
    return model.model, clock


@torch.no_grad()
def measure_loss(model: Any, rows: Sequence[TokenizedRow]) -> float:
    """Mean over the trained tokens of `rows`, each read alone by transformers' own attention."""
    model.eval()
    causal = model.get_base_model()
    causal.set_attn_implementation("sdpa")
    total = tokens = 0.0
    for row in rows:
        ids = torch.tensor([row.input_ids], device=causal.device)
        with torch.autocast(causal.device.type, causal.dtype, enabled=causal.dtype != torch.float32):
            logits = model(input_ids=ids, use_cache=False).logits[0, row.loss_start - 1 : -1].float()
        total += float(torch.nn.functional.cross_entropy(logits, ids[0, row.loss_start :], reduction="sum"))
        tokens += row.trained_tokens
    return total / tokens


def measure_side(side: str, shape: str, rows: Sequence[TokenizedRow], steps: int, precision: str) -> Measured:
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    base = make_base(shape, dtype, device, SEED)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    if side in TRL:
        liger = {"use_liger_kernel": True} if side in ("trl best", "trl padding-free") and find_liger() else {}
        model, clock = train_trl(base, rows, steps, precision, TRL[side] | liger)
    else:
        packed, compiled = side == "ours packed", side == COMPILED
        model, clock = train_ours(base, rows, steps, precision, packed, compiled)
    peak = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else float("nan")
    return Measured(clock.measure_speed(), peak, measure_loss(model, rows[:SCORED]))


def find_liger() -> bool:
    return torch.cuda.is_available() and find_spec("liger_kernel") is not None


def measure_matrix_peak(precision: str) -> float:
    """Floating-point operations a second: the best of twenty products of 8192 x 8192 matrices."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    left, right = (torch.randn(8192, 8192, device="cuda").to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(20):
        torch.cuda.synchronize()
        start = time.perf_counter()
        torch.mm(left, right)
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * 8192**3 / best


def compare_sides(shape: str, precision: str, steps: int, deadline: float, sides: Sequence[str]) -> bool:
    """Print a table as it is measured; whether every target is met. After the deadline no further side begins."""
    from transformers import LlamaConfig

    config, found = LlamaConfig(**SHAPES[shape]), {}
    rows = make_rows(steps * BATCH, LONGEST, config.vocab_size, SEED)
    token = count_training_flops(rows, config, LORA["r"]) / sum(row.length for row in rows)
    peak = measure_matrix_peak(precision) if torch.cuda.is_available() else float("nan")
    print(f"\n{shape}, {precision}, {steps} steps of {BATCH} rows; matrix products {peak / 1e12:,.0f} TFLOP/s\n")
    print(
        "| side | real tokens a second | of the matrix peak | peak GB | loss after |\n|---|---|---|---|---|", flush=True
    )
    for side in sides:
        if time.perf_counter() > deadline:
            print(f"| {side} | not measured: out of time | | | |", flush=True)
            continue
        try:
            found[side] = one = measure_side(side, shape, rows, steps, precision)
        except torch.OutOfMemoryError:
            print(f"| {side} | out of memory | | | |", flush=True)
            continue
        finally:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        share = one.tokens_a_second * token / peak
        print(
            f"| {side} | {one.tokens_a_second:,.0f} | {share:.0%} | {one.peak_gigabytes:.1f} | {one.loss:.4f} |"
            if torch.cuda.is_available()
            else f"| {side} | {one.tokens_a_second:,.0f} | | | {one.loss:.4f} |",
            flush=True,
        )
    return summarize(shape, precision, found)


def summarize(shape: str, precision: str, found: dict[str, Measured]) -> bool:
    """Whether ours is as much faster as it should be, at no more memory and no higher loss than TRL's best."""
    if "trl" not in found or "ours" not in found:
        print(f"\n{shape}, {precision}: not compared")
        return False
    ours = found["ours"]
    best = max((found[side] for side in TRL if side in found), key=lambda one: one.tokens_a_second)
    ratios = {
        "trl": ours.tokens_a_second / found["trl"].tokens_a_second,
        "best of trl": ours.tokens_a_second / best.tokens_a_second,
    }
    apart = ours.loss - best.loss
    print(
        f"\n{shape}, {precision}: {ours.tokens_a_second:,.0f} real tokens a second, {ratios['trl']:.2f} times TRL's "
        f"defaults, {ratios['best of trl']:.2f} times its best, at {ours.peak_gigabytes / best.peak_gigabytes:.2f} of "
        f"its best's memory; loss {apart:+.4f}",
        flush=True,
    )
    fast = all(ratios[side] >= LEAST[side] for side in LEAST)
    return fast and ours.peak_gigabytes <= best.peak_gigabytes and apart <= LOSS_TOLERANCE


def main() -> None:
    parser = argparse.ArgumentParser(description="Training on a GPU against TRL's SFTTrainer.")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--shapes", nargs="+", choices=[*SHAPES], default=["13B", "8B", "1.1B"], help="in this order")
    parser.add_argument("--steps", type=int, default=16, help=f"steps a side, {WARMUP} of them to warm up (16)")
    parser.add_argument("--seconds", type=float, default=330, help="after so many no further side begins (330)")
    parser.add_argument("--compiled", action="store_true", help="ours with torch.compile, too")
    parser.add_argument("--tiny", action="store_true", help="a tiny model, on the CPU where there is no GPU")
    given = parser.parse_args()
    if not torch.cuda.is_available() and not given.tiny:
        raise SystemExit("no CUDA device: --tiny tests this script on a CPU")
    deadline = time.perf_counter() + given.seconds
    names = ("torch", "transformers", "peft", "bitsandbytes", "trl", *(["liger-kernel"] if find_liger() else []))
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "a CPU"
    print(f"{card}; {', '.join(f'{name} {version(name)}' for name in names)}", flush=True)
    runs = [("tiny", "bf16")] if given.tiny else [(shape, "bf16") for shape in given.shapes]
    if "13B" in given.shapes and not given.tiny:
        runs.append(("13B", "fp16"))
    sides = [side for side in SIDES if given.compiled or side != COMPILED]
    met = [compare_sides(shape, precision, given.steps, deadline, sides) for shape, precision in runs]
    if given.check and not all(met):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
