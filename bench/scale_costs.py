"""What 1,000, 52,000 and 1,000,000 instructions take with models of 7B to 70B, computed from unit costs.

Unit costs are read from the committed metrics, from the profiles and from the shapes of the models; what is assumed
stands here as a constant. Nothing is measured: docs/scale.md holds the tables and says where each figure comes from.

Run    python -m bench.scale_costs
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace

from bench.flops import count_weights
from netllama.core.metrics import read_details

METRICS = Path(__file__).parent.parent / "metrics"
SIZES = (1_000, 52_000, 1_000_000)
EPOCHS = {1_000: 3, 52_000: 3, 1_000_000: 1}

SHAPES = {
    "Llama-2-7B": (4096, 11008, 32, 32, 32, 32_000),
    "Llama-3.1-8B": (4096, 14336, 32, 32, 8, 128_256),
    "Llama-2-13B": (5120, 13824, 40, 40, 40, 32_000),
    "Llama-2-70B": (8192, 28672, 80, 64, 8, 32_000),
}
"""hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads, vocab_size: as in the
config.json of each."""
RANK = 64
NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)
"""Of a weight: its code, its block's scale in 8 bits (double quantization), and the scale's own scale."""
ADAPTER_BYTES = 4 + 4 + 8
"""Of an adapter weight in fp32: itself, its gradient, and the two moments of AdamW."""
BATCH_TOKENS = 2_048
"""Tokens of a forward pass on one GPU."""
LOGIT_BYTES = 3 * 4
"""Of a logit: in fp32, its exponential and its gradient; of all tokens, where the answer is the whole row."""

PEAK_FLOPS = 989e12
"""bf16 products of an H100 SXM without sparsity, by NVIDIA's data sheet."""
UTILISATION = 0.3
"""Assumed share of it. On CPUs this project reaches 0.10 to 0.58 of the peak of a matrix product (performance.md)."""
SCALING = {1: 1.0, 8: 0.95, 64: 0.85}
"""By GPUs: one, a node, eight nodes. Assumed: only the gradients of adapters are exchanged, which are small."""

ESTIMATED_KEPT = 10_000
ESTIMATED_TOKENS = 83_648_880
ESTIMATED_DOLLARS = {"live": 22.2277, "batch": 12.3162}
"""Of `python -m stages.generate --estimate` with profiles/llama-3.1-8b-instruct.yaml."""


def make_config(model: str) -> SimpleNamespace:
    names = "hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads vocab_size"
    return SimpleNamespace(**dict(zip(names.split(), SHAPES[model], strict=True)))


def count_row_tokens() -> float:
    """Tokens of a row of train, prompt and answer, in the default."""
    train = read_details(METRICS / "tokenize.json")["train"]
    return float(train["tokens"] / train["rows"])


def count_teacher_tokens() -> float:
    """Tokens for each instruction that was kept, prompts and answers, with the embedded teacher."""
    return float(read_details(METRICS / "generate.json")["tokens_per_kept_row"])


def compute_memory(model: str) -> dict[str, float]:
    """Gigabytes (1e9) on one GPU, by what takes them: QLoRA with gradient checkpointing, rank RANK on all layers."""
    config = make_config(model)
    linear, adapter = count_weights(config, RANK)
    embeddings = 2 * config.vocab_size * config.hidden_size
    checkpoints = config.num_hidden_layers * BATCH_TOKENS * config.hidden_size * 2
    # One layer that is computed again: what its products read and write, in bf16, and one matrix in bf16.
    inside = BATCH_TOKENS * (8 * config.hidden_size + 4 * config.intermediate_size) * 2
    matrix = config.hidden_size * config.intermediate_size * 2
    logits = BATCH_TOKENS * config.vocab_size * LOGIT_BYTES
    parts = {
        "NF4 layers": linear * NF4_BITS / 8,
        "embeddings, head": embeddings * 2,
        "adapter, AdamW": adapter * ADAPTER_BYTES,
        "activations": checkpoints + inside + matrix + logits,
    }
    return {name: size / 1e9 for name, size in parts.items()}


def compute_flops(model: str) -> float:
    """Operations of a token of training: 2 a weight forward, 2 again (gradient checkpointing), 2 backward to the input;
    an adapter's weights take 2 more for their own gradient."""
    config = make_config(model)
    linear, adapter = count_weights(config, RANK)
    return 6.0 * (linear + config.vocab_size * config.hidden_size) + 8.0 * adapter


def compute_gpu_hours(model: str, instructions: int) -> float:
    """Of training for EPOCHS on one GPU."""
    tokens = instructions * EPOCHS[instructions] * count_row_tokens()
    return tokens * compute_flops(model) / (PEAK_FLOPS * UTILISATION) / 3600


def format_hours(hours: float) -> str:
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:,.1f} h"


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("| --- |", "|---|").replace(" --- |", "---|")


def list_tables() -> dict[str, str]:
    """Each table in Markdown, by what it shows."""
    row_tokens, teacher = count_row_tokens(), count_teacher_tokens()
    estimated = ESTIMATED_TOKENS / ESTIMATED_KEPT
    dollars = {tier: price / ESTIMATED_KEPT for tier, price in ESTIMATED_DOLLARS.items()}
    asked = [
        [
            f"{size:,}",
            f"{size * teacher / 1e6:,.1f}",
            f"{size * estimated / 1e6:,.1f}",
            *(f"{size * price:,.0f}" for price in dollars.values()),
            f"{size * row_tokens / 1e6:,.1f}",
        ]
        for size in SIZES
    ]
    parts = {model: list(compute_memory(model).values()) for model in SHAPES}
    memory = [[model, *(f"{size:.1f}" for size in sizes), f"{sum(sizes):.0f}"] for model, sizes in parts.items()]
    columns = [(1_000, 1), (52_000, 1), (52_000, 8), (1_000_000, 1), (1_000_000, 8), (1_000_000, 64)]
    hours = [
        [model, *(format_hours(compute_gpu_hours(model, size) / gpus / SCALING[gpus]) for size, gpus in columns)]
        for model in SHAPES
    ]
    return {
        "teacher": format_table(
            [
                "instructions",
                "M tokens, embedded",
                "M tokens, profile",
                "US$ live",
                "US$ batch",
                "M tokens to train on",
            ],
            asked,
        ),
        "memory": format_table(
            ["GB", "NF4 layers", "embeddings, head", "adapter, AdamW", "activations", "in all"], memory
        ),
        "training": format_table(
            ["instructions, GPUs", *(f"{size:,}, {gpus}" for size, gpus in columns)],
            hours,
        ),
    }


def main() -> None:
    for name, table in list_tables().items():
        print(f"{name}\n\n{table}")


if __name__ == "__main__":
    main()
