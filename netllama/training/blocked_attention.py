"""Causal attention for training on a CPU: batched matrix products where torch's own kernel is slow.

For 4 rows of 380 tokens, 9 heads of 64 in bf16, forward and backward of scaled_dot_product_attention took 46 ms a
layer. As matrix products with the 3 query heads of a group in one, and over blocks of queries that leave out
the keys after them, the same sums take a third of that. The probabilities are kept for the backward pass: quadratic
in the length, which is why longer rows go the library's way.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "blocked_causal"
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
    future = torch.ones(block, block, dtype=torch.bool).triu(1)
    scores.view(pairs, group, block, -1)[..., -block:].masked_fill_(future, -torch.inf)
    return scores.softmax(-1)


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK)]


def use_blocked_attention(model: "PreTrainedModel") -> None:
    """Let `model` (a decoder of transformers) attend this way where no mask but the causal one is needed."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def _attend(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """query [B, H, T, D], key and value [B, H / G, T, D], mask [B, 1, T, T] or None -> [B, T, H, D]."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    length = query.shape[2]
    if attention_mask is not None or length != key.shape[2] or not 1 < length <= LONGEST or options.get("dropout"):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    attended: Tensor = CausalAttention.apply(query, key, value, scale)
    return attended.transpose(1, 2).contiguous(), None
