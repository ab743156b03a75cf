"""Whether a CUDA device has room for dequantized weights, and for how many tokens at a time: plain arithmetic.

Packed NF4 weights are dequantized in every pass, forward and backward; dequantized once they are plain matrices of the
same values, in four times the memory. What fits is computed before anything is tried. Counted are the base, the
adapter with its gradients and the optimizer's state, and the activations of one batch; a tenth of the memory is left
for the allocator's gaps, CUDA's own libraries and what matrix products need besides.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

USABLE = 0.9
"""Share of the free memory that a plan may use."""
NF4_BYTES = 0.5 + 4 / 64
"""A weight of packed NF4: 4 bits, and an fp32 scale for each 64; double quantization takes less."""
MOST_LOGITS = 2**29
"""Bytes of the logits that exist at a time, in fp32; with their gradients and copies three times as much."""
FEWEST_READ, MOST_READ = 1024, 65536
"""Tokens of a batch that is read or written."""
GB = 10**9


@dataclass(frozen=True)
class ModelShape:
    """What the memory of a decoder depends on; counts are of numbers, not of bytes."""

    quantized: int
    """Weights of the linear layers that are quantized."""
    other: int
    """All other weights: embeddings, norms, the head."""
    layers: int
    hidden: int
    inner: int
    """Between the two products of a layer's MLP."""
    keys: int
    """Of keys, or of values, for a token and layer."""
    linear_sides: int
    """Inputs and outputs of all quantized or adapted linear layers together: LoRA has as many weights a rank."""


@dataclass(frozen=True)
class Workload:
    """What is done with a model, besides holding it. The default: it is read from and written with."""

    tokens: int = 8192
    """That go through the model together."""
    rank: int = 0
    """Of the adapter that is trained; 0: nothing is trained."""
    optimizer_bytes: int = 8
    """Of the optimizer's state, for each trained weight."""
    checkpointing: bool = False
    """Only what goes into each layer is kept; the rest is computed again."""


@dataclass(frozen=True)
class Demand:
    """Bytes."""

    base: int
    adapter: int
    """With gradients and the optimizer's state."""
    activations: int

    @property
    def total(self) -> int:
        return self.base + self.adapter + self.activations


@dataclass(frozen=True)
class WeightsPlan:
    """Whether quantized weights are kept dequantized (`cached`), and the arithmetic behind it in one line."""

    cached: bool
    text: str


def compute_demand(shape: ModelShape, work: Workload, cached: bool, width: int) -> Demand:
    """What `work` takes, with numbers of `width` bytes (2 in bf16 and fp16, 4 in fp32)."""
    packed = shape.quantized * NF4_BYTES
    base = (shape.quantized * width if cached else packed) + shape.other * width
    # A packed layer is dequantized for its pass: gate and up are the largest that exist together.
    passing = 0 if cached else 2 * shape.hidden * shape.inner * width
    trained = shape.linear_sides * work.rank
    # In fp32 with as large a gradient, beside the state; a copy in half precision for the products.
    adapter = trained * (4 + 4 + work.optimizer_bytes + width)
    activations = work.tokens * count_token_bytes(shape, work, width) + count_fixed_bytes() + passing
    return Demand(round(base), adapter, round(activations))


def count_token_bytes(shape: ModelShape, work: Workload, width: int) -> int:
    """Bytes of activations for each token of a batch.

    Training keeps of a layer: its input, both normed inputs and the sum between them, queries, the attention's output
    (6 of `hidden`), keys and values, gate, up and their product, and A x of its linear layers. Checkpointing keeps its
    input only, and one layer in full at a time. Otherwise keys and values of all layers stay, and one layer passes.
    """
    inside = (6 * shape.hidden + 2 * shape.keys + 3 * shape.inner + 7 * work.rank) * width
    # Gradients of the widest part while it goes backward: of gate, up and their product, and of the hidden states.
    passing = (3 * shape.inner + 4 * shape.hidden) * width
    if not work.rank:
        return shape.layers * 2 * shape.keys * width + inside + passing
    # The largest dropout mask.
    passing += shape.inner * width
    kept = shape.hidden * width * shape.layers + inside if work.checkpointing else inside * shape.layers
    return kept + passing


def count_fixed_bytes() -> int:
    """Of activations whose size does not depend on the batch."""
    return 3 * MOST_LOGITS


def plan_weights(shape: ModelShape, work: Workload, free: int, width: int) -> WeightsPlan:
    """Dequantized weights where all of `work` fits into the usable share of `free` bytes with them, else packed ones.

    `free` is what there would be without the model.
    """
    demand, usable = compute_demand(shape, work, True, width), USABLE * free
    cached = demand.total <= usable
    sums = (
        f"{demand.base / GB:.1f} GB dequantized + {demand.adapter / GB:.1f} adapter and optimizer + "
        f"{demand.activations / GB:.1f} activations of {work.tokens:,} tokens = {demand.total / GB:.1f}"
    )
    verdict = "at most" if cached else "more than"
    form = "cached" if cached else "packed"
    return WeightsPlan(cached, f"weights: {form} ({sums}, {verdict} {USABLE:.0%} of {free / GB:.1f} GB free)")


def count_fitting_tokens(shape: ModelShape, work: Workload, cached: bool, free: int, width: int, most: int) -> int:
    """How many tokens may go through the model together: at most `most`, and at least 1.

    `free` is what there would be without the model.
    """
    demand = compute_demand(shape, work, cached, width)
    token = count_token_bytes(shape, work, width)
    left = USABLE * free - demand.total + work.tokens * token
    return max(1, min(most, int(left // token)))


def count_reading_tokens(shape: ModelShape, free: int, width: int) -> int:
    """How many tokens, at most, may be read or written together beside a loaded model, where `free` bytes are left.

    A power of two: where a little more or less is free, batches stay the same, and so do their rounding errors.
    """
    left = USABLE * free - count_fixed_bytes()
    fitting = int(left // count_token_bytes(shape, Workload(), width))
    return max(FEWEST_READ, min(MOST_READ, 2 ** max(0, fitting.bit_length() - 1) if fitting > 0 else 0))


def read_shape(model: "PreTrainedModel") -> ModelShape:
    """Of a loaded decoder, packed or not, without an adapter."""
    import torch

    config: Any = model.config.get_text_config(decoder=True)
    head = model.get_output_embeddings()
    linear = [each for each in model.modules() if isinstance(each, torch.nn.Linear) and each is not head]
    inside = sum(each.in_features * each.out_features for each in linear)
    heads = getattr(config, "num_attention_heads", None) or 1
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return ModelShape(
        quantized=inside,
        other=model.num_parameters() - inside,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        inner=getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
        keys=(getattr(config, "num_key_value_heads", None) or heads) * size,
        linear_sides=sum(each.in_features + each.out_features for each in linear),
    )


def measure_free_memory() -> int:
    """Bytes of this process's CUDA device that nothing uses, or that only this process's allocator holds."""
    import torch

    free, _ = torch.cuda.mem_get_info()
    return int(free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())
