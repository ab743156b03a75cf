"""Causal attention within each of several rows that lie end to end.

On CUDA in half precision one kernel of torch does it for all rows (FlashAttention, arXiv 2307.08691, of variable
lengths). Elsewhere each row goes through scaled_dot_product_attention on its own, which pads nothing either.
"""

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
    """Whether the kernel for all rows takes these: it needs a device of the Ampere generation or a later one."""
    if query.device.type != "cuda" or query.dtype not in (torch.float16, torch.bfloat16):
        return False
    size = query.shape[-1]
    fits = size % 8 == 0 and size <= LARGEST_HEAD and size == value.shape[-1]
    return fits and torch.cuda.get_device_capability(query.device)[0] >= 8
