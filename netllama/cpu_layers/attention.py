"""Attention on a CPU: batched matrix products where torch's own kernel is slow.

With grouped-query attention (Ainslie et al., arXiv 2305.13245) several query heads share one key-value head. Here the
query heads of a group stand in one matrix product, in each of the three shapes that attention has:

- rows without padding, in training: for 4 rows of 380 tokens, 9 heads of 64 in bf16, forward and backward of
  scaled_dot_product_attention took 46 ms a layer. The same sums over blocks of queries that leave out the keys after
  them take a third of that. In half precision the probabilities are kept for the backward pass: quadratic in the
  length, which is why longer rows go the library's way.
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
# Queries of a block in half precision: at 380 tokens 128 leaves out a third of the products. In fp32 it is half.
BLOCK = 128
# A row of this length keeps 11 MB of probabilities a layer, with 9 heads.
LONGEST = 1024


class CausalAttention(torch.autograd.Function):
    """softmax(Q K^T, causal) V for Q [B, H, T, D] and K, V [B, H / G, T, D] of one precision -> [B, T, H, D]."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        batch, heads, length, size = query.shape
        pairs, group = batch * key.shape[1], heads // key.shape[1]
        query = query.reshape(pairs, group, length, size)
        key, value = key.reshape(pairs, length, size), value.reshape(pairs, length, size)
        attended = query.new_empty(batch, length, heads, size)
        by_pair, kept = _view_by_pair(attended, group), []
        for start, end in _blocks(length, query.dtype):
            attention = _probabilities(query[:, :, start:end].reshape(pairs, -1, size), key[:, :end], end - start)
            block = torch.bmm(attention, value[:, :end])
            by_pair[:, :, :, start:end] = block.view(batch, -1, group, end - start, size)
            # In fp32 they would take twice the memory.
            if query.dtype.itemsize == 2:
                kept.append(attention)
        ctx.save_for_backward(query, key, value, *kept)
        return attended

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, *kept = ctx.saved_tensors
        pairs, group, length, size = query.shape
        batch = len(gradients[0])
        gradient = _view_by_pair(gradients[0], group)
        query_gradient = torch.empty_like(query, memory_format=torch.contiguous_format)
        key_gradient, value_gradient = torch.zeros_like(key), torch.zeros_like(value)
        for at, (start, end) in enumerate(_blocks(length, query.dtype)):
            queries = query[:, :, start:end].reshape(pairs, -1, size)
            attention = kept[at] if kept else _probabilities(queries, key[:, :end], end - start)
            block = gradient[:, :, :, start:end].reshape(pairs, -1, size)
            value_gradient[:, :end].baddbmm_(attention.transpose(1, 2), block)
            scores = torch.bmm(block, value[:, :end].transpose(1, 2))
            scores = torch._softmax_backward_data(scores, attention, -1, scores.dtype)
            query_gradient[:, :, start:end] = torch.bmm(scores, key[:, :end]).view(pairs, group, -1, size)
            key_gradient[:, :end].baddbmm_(scores.transpose(1, 2), queries)
        shape = (batch, -1, length, size)
        return query_gradient.view(shape), key_gradient.view(shape), value_gradient.view(shape)


def _view_by_pair(attended: Tensor, group: int) -> Tensor:
    """[B, T, H, D] -> [B, H / G, G, T, D], in the same memory."""
    batch, length, _, size = attended.shape
    return attended.view(batch, length, -1, group, size).permute(0, 2, 3, 1, 4)


def _probabilities(queries: Tensor, keys: Tensor, block: int) -> Tensor:
    """What queries [P, G Q, D], G times the last Q of the keys' positions, attend to in keys [P, T, D]: [P, G Q, T]."""
    scores = torch.bmm(queries, keys.transpose(1, 2))
    scores.view(len(keys), -1, block, keys.shape[1])[..., -block:].masked_fill_(_list_future(block), -torch.inf)
    return scores.softmax(-1)


@cache
def _list_future(block: int) -> Tensor:
    """[Q, Q]: true where a key comes after the query. One mask a size: to make it for each layer took 3% of a step."""
    # Made in scoring, it must still be usable in training.
    with torch.inference_mode(False):
        return torch.ones(block, block, dtype=torch.bool).triu(1)


def _blocks(length: int, dtype: torch.dtype) -> list[tuple[int, int]]:
    """In half precision larger ones: oneDNN makes kernels for each size, and keeps 64 of them (limits.py)."""
    block = BLOCK if dtype.itemsize == 2 else max(1, BLOCK // 2)
    return [(start, min(start + block, length)) for start in range(0, length, block)]


def attend_masked(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(Q K^T where the mask allows it) V: query [B, H, Q, D], key, value [B, H / G, T, D] -> like query.

    `mask` [B or 1, 1, Q, T] is true, or 0, where a query may look, and false, or a large negative number, elsewhere.
    The queries are those of the last Q keys, and none looks at a later key than its own.
    """
    batch, heads, length, size = query.shape
    pairs, group = key.shape[1], heads // key.shape[1]
    grouped = query.reshape(batch, pairs, group, length, size)
    if mask is None:
        scores = grouped.reshape(batch, pairs, -1, size) @ key.transpose(2, 3)
        return (scores.softmax(-1) @ value).view(batch, heads, length, size)
    hidden = ~mask if mask.dtype == torch.bool else mask < 0
    attended = torch.empty_like(grouped, memory_format=torch.contiguous_format)
    for start, end in _blocks(length, query.dtype):
        keys = key.shape[2] - length + end
        here = hidden[:, :, start:end, :keys]
        scores = grouped[:, :, :, start:end].reshape(batch, pairs, -1, size) @ key[:, :, :keys].transpose(2, 3)
        # What all queries see is most of it.
        first = int(torch.cat([here.flatten(0, 2).any(0), here.new_ones(1)]).byte().argmax())
        by_head = scores.view(batch, pairs, group, end - start, keys)[..., first:]
        by_head.masked_fill_(here[:, :, None, :, first:], torch.finfo(scores.dtype).min)
        block = scores.softmax(-1) @ value[:, :, :keys]
        attended[:, :, :, start:end] = block.view(batch, pairs, group, end - start, size)
    return attended.view(batch, heads, length, size)


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
    if not _is_special(query, key, value, attention_mask, options):
        scaled = query if scale == 1 else query * scale
        if length == 1 or attention_mask is not None:
            return attend_masked(scaled, key, value, attention_mask).transpose(1, 2).contiguous(), None
        if length == keys:
            return CausalAttention.apply(scaled, key, value), None
    return sdpa_attention_forward(module, query, key, value, attention_mask, **options)


def _is_special(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]) -> bool:
    """What only the library does, or what would take too much memory here."""
    has_options = any(options.get(name) for name in ("dropout", "softcap", "output_attentions"))
    by_head = options.get("position_bias") is not None or (mask is not None and mask.shape[1] != 1)
    too_long = query.shape[2] * key.shape[2] > LONGEST**2
    return has_options or by_head or too_long or key.shape[-1] != value.shape[-1]
