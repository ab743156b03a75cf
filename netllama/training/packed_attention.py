"""Causal attention within each of several rows that lie end to end.

On CUDA in half precision one kernel of torch does it for all rows (torch.nn.attention.varlen: FlashAttention, arXiv
2307.08691, of variable lengths). Where it can't, training pads its rows for scaled_dot_product_attention instead.
Tensors that come here all the same, as on a CPU, go through it row by row, which pads nothing either.
"""

from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from netllama.models.attention_kind import sees_all_before
from netllama.training.packed_rows import Packing

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "packed_rows"
LARGEST_HEAD = 256
"""Entries of a head that the kernel for all rows takes, in multiples of 8."""
_NEEDED = {"scale", "window_size", "enable_gqa"}
"""What an older torch's kernel does not take, or calls otherwise."""
_SPECIAL = ("softcap", "position_bias", "s_aux", "sliding_window")


def can_pack(model: "PreTrainedModel") -> bool:
    """Whether `model` (a decoder of transformers) hands all of its attention to a function that it lets others choose.

    Not with attention dropout, which no kernel here has.
    """
    config: Any = model.config.get_text_config(decoder=True)
    return (
        sees_all_before(config)
        and bool(getattr(model, "_supports_attention_backend", False))
        and not getattr(config, "attention_dropout", 0.0)
        and config._attn_implementation == "sdpa"
    )


def explain_padding(model: "PreTrainedModel", generation: int) -> str:
    """Why rows are padded for `model` on a CUDA device of this generation (8: Ampere); empty where they need not be."""
    config: Any = model.config.get_text_config(decoder=True)
    if not can_pack(model):
        return "the model's attention is of another kind"
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return find_hindrance(has_kernel(), generation, model.dtype, size)


def find_hindrance(has_kernel: bool, generation: int, dtype: torch.dtype, size: int) -> str:
    """What keeps the kernel for all rows from heads of `size` entries; empty if nothing does."""
    hindrances = {
        "this torch has no varlen_attn that fits": not has_kernel,
        "the device is older than Ampere": generation < 8,
        "the precision is neither bf16 nor fp16": dtype not in (torch.bfloat16, torch.float16),
        f"heads of {size} entries": size % 8 > 0 or size > LARGEST_HEAD,
    }
    return next((reason for reason, applies in hindrances.items() if applies), "")


@cache
def has_kernel() -> bool:
    """Whether this torch has the kernel for all rows: an older one has none or one that takes less, ROCm another."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return torch.version.hip is None and set(signature(varlen_attn).parameters) >= _NEEDED


def describe_attention(hindrance: str) -> str:
    if hindrance:
        return f"attention: scaled_dot_product_attention, rows padded ({hindrance})"
    return "attention: torch's varlen_attn, rows end to end"


def use_packed_attention(model: "PreTrainedModel") -> None:
    """Let `model`, which `can_pack`, attend within rows: its decoder must be called with `packing`, without a mask."""
    from transformers import AttentionInterface

    # Under a name without a mask function the library makes no mask.
    AttentionInterface.register(NAME, attend_packed)
    model.set_attn_implementation(NAME)


def attend_packed(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packing: Packing,
    **options: Any,
) -> tuple[Tensor, None]:
    """query [1, H, N, D], key and value [1, H / G, N, D] -> [1, N, H, D]."""
    if attention_mask is not None or any(options.get(name) is not None for name in _SPECIAL):
        raise ValueError("packed rows have neither a mask nor a bias")
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    grouped = query.shape[1] != key.shape[1]
    if _takes_all_rows(query, value):
        from torch.nn.attention.varlen import varlen_attn

        longest = max(packing.lengths)
        query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))
        attended: Any = varlen_attn(
            query,
            key.to(query.dtype),
            value.to(query.dtype),
            packing.bounds,
            packing.bounds,
            longest,
            longest,
            scale=scale,
            window_size=(-1, 0),
            enable_gqa=grouped,
        )
        return attended[None], None
    rows = zip(*(part.split(packing.lengths, dim=2) for part in (query, key, value)), strict=True)
    parts = [
        torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=grouped)
        for q, k, v in rows
    ]
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _takes_all_rows(query: Tensor, value: Tensor) -> bool:
    """Whether the kernel for all rows takes these."""
    size = query.shape[-1]
    if query.device.type != "cuda" or size != value.shape[-1]:
        return False
    return not find_hindrance(has_kernel(), torch.cuda.get_device_capability(query.device)[0], query.dtype, size)
