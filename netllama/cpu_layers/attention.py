"""Attention on a CPU: batched matrix products where torch's own kernel is slow.

With grouped-query attention (Ainslie et al., arXiv 2305.13245) several query heads share one key-value head. Here the
query heads of a group stand in one matrix product, in each of the three shapes that attention has:

- rows without padding, in training: for 4 rows of 380 tokens, 9 heads of 64 in bf16, forward and backward of
  scaled_dot_product_attention took 46 ms a layer. The same sums over blocks of queries that leave out the keys after
  them take a third of that. The probabilities are kept for the backward pass: quadratic in the length, which is why
  longer rows go the library's way.
- one new token a row, in generation: for 16 rows of 1,000 tokens the library took 21 ms a layer on one core, a group's
  heads in the place of query positions take 1.3 ms.
- rows with a mask, in scoring: texts that go on from one beginning attend to it, and not to each other.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "grouped_matmul"
# Queries of a block: at 380 tokens 128 leaves out a third of the products.
BLOCK = 128
# 4 rows of this length keep 75 MB of probabilities a layer.
LONGEST = 1024


class CausalAttention(torch.autograd.Function):
    """softmax(scale Q K^T, causal) V for Q [B, H, T, D] and K, V [B, H / G, T, D] of one precision."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        batch, heads, length, size = query.shape
        pairs, group = batch * key.shape[1], heads // key.shape[1]
        query = query.reshape(pairs, group, length, size)
        key, value = key.reshape(pairs, length, size), value.reshape(pairs, length, size)
        attended = torch.empty_like(query, memory_format=torch.contiguous_format)
        for start, end in _blocks(length):
            attention = _probabilities(query[:, :, start:end] * scale, key[:, :end])
            attended[:, :, start:end] = torch.bmm(attention, value[:, :end]).view(pairs, group, -1, size)
        ctx.save_for_backward(query, key, value)
        ctx.scale = scale
        return attended.view(batch, heads, length, size)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value = ctx.saved_tensors
        pairs, group, length, size = query.shape
        gradient = gradients[0].reshape(query.shape)
        query_gradient = torch.empty_like(query, memory_format=torch.contiguous_format)
        key_gradient, value_gradient = torch.zeros_like(key), torch.zeros_like(value)
        for start, end in _blocks(length):
            scaled = query[:, :, start:end] * ctx.scale
            attention = _probabilities(scaled, key[:, :end])
            block = gradient[:, :, start:end].reshape(pairs, -1, size)
            value_gradient[:, :end].baddbmm_(attention.transpose(1, 2), block)
            scores = torch.bmm(block, value[:, :end].transpose(1, 2))
            scores = torch._softmax_backward_data(scores, attention, -1, scores.dtype)
            query_gradient[:, :, start:end] = torch.bmm(scores, key[:, :end]).view(pairs, group, -1, size)
            key_gradient[:, :end].baddbmm_(scores.transpose(1, 2), scaled.reshape(pairs, -1, size))
        query_gradient *= ctx.scale
        batch = gradients[0].shape[0]
        shape = (batch, pairs // batch, length, size)
        return query_gradient.view(gradients[0].shape), key_gradient.view(shape), value_gradient.view(shape), None


def _probabilities(queries: Tensor, keys: Tensor) -> Tensor:
    """What scaled queries [P, G, Q, D], the last Q of the keys' positions, attend to in keys [P, T, D]: [P, G Q, T]."""
    pairs, group, block, size = queries.shape
    scores = torch.bmm(queries.reshape(pairs, -1, size), keys.transpose(1, 2))
    scores.view(pairs, group, block, -1)[..., -block:].masked_fill_(_list_future(block), -torch.inf)
    return scores.softmax(-1)


@cache
def _list_future(block: int) -> Tensor:
    """[Q, Q]: true where a key comes after the query. One mask a size: to make it for each layer took 3% of a step."""
    # Made in scoring, it must still be usable in training.
    with torch.inference_mode(False):
        return torch.ones(block, block, dtype=torch.bool).triu(1)


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK)]


def attend_masked(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """softmax(scale Q K^T where the mask allows it) V: query [B, H, Q, D], key, value [B, H / G, T, D] -> like query.

    `mask` [B or 1, 1, Q, T] is true, or 0, where a query may look, and false, or a large negative number, elsewhere.
    """
    batch, heads, length, size = query.shape
    pairs, group = key.shape[1], heads // key.shape[1]
    grouped = query.reshape(batch, pairs, group * length, size) * scale
    scores = grouped @ key.transpose(2, 3)
    if mask is not None:
        hidden = ~mask if mask.dtype == torch.bool else mask < 0
        by_head = scores.view(batch, pairs, group, length, -1)
        scores = by_head.masked_fill(hidden[:, :, None], torch.finfo(scores.dtype).min).view(scores.shape)
    return (scores.softmax(-1) @ value).view(batch, heads, length, size)


def use_cpu_attention(model: "PreTrainedModel") -> None:
    """Let `model` (a decoder of transformers) attend this way, in training, scoring and generation alike.

    A model that the library doesn't attend for by scaled_dot_product_attention keeps its own way.
    """
    if model.config._attn_implementation != "sdpa":
        return
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def _attend(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """query [B, H, Q, D], key and value [B, H / G, T, D], mask [B, 1, Q, T] or None -> [B, Q, H, D]."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    length, keys = query.shape[2], key.shape[2]
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    attended = None
    if not _is_special(query, key, value, attention_mask, options):
        if length == 1 or attention_mask is not None:
            attended = attend_masked(query, key, value, attention_mask, scale)
        elif length == keys:
            attended = CausalAttention.apply(query, key, value, scale)
    if attended is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    return attended.transpose(1, 2).contiguous(), None


def _is_special(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]) -> bool:
    """What only the library does, or what would take too much memory here."""
    has_options = any(options.get(name) for name in ("dropout", "softcap", "output_attentions"))
    by_head = options.get("position_bias") is not None or (mask is not None and mask.shape[1] != 1)
    too_long = query.shape[2] * key.shape[2] > LONGEST**2
    return has_options or by_head or too_long or key.shape[-1] != value.shape[-1]
