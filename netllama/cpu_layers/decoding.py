"""New tokens of several rows, one each or some with drafts behind it, as fast as a CPU reads the weights.

A step's matrix products have few rows, so reading the weights is what takes time. Everything else is kept small: q, k
and v are one product, as are gate and up; activations are [features, rows], so that a product takes each weight as it
lies in memory (for 24 rows in bf16 that takes two thirds of the time of x W^T, for which it is rearranged at each
call); and a layer is 27 operations, because each of them takes at least 5 us.
"""

import copy
from collections.abc import Sequence
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from netllama.cpu_layers.decoding_cache import DecodingCache
from netllama.models.output_head import has_plain_head

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

COLUMNS = 16
"""Columns of products are rounded up to a multiple of it: kernels are made for each shape, and 16 columns take no
longer than 2 (on an AMD EPYC 8 take 1.7 times as long as 16 in fp32, and 24 longer than 32 in bf16)."""
PRODUCTS = ("attention", "output", "gate", "down")
"""Those of a layer of `StepDecoder`."""
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class LoraUpdate(NamedTuple):
    """What LoRA adds to a product: B A x."""

    a: Tensor
    """[R, I]; of layers that were joined, their ranks together."""
    b: Tensor
    """[O, R], scaled; block by block for layers that were joined."""


class Product(NamedTuple):
    """W x + B A x of x [I, N]: one linear layer, or several of one input, their outputs behind each other."""

    weight: Tensor
    lora: LoraUpdate | None

    def apply(self, x: Tensor) -> Tensor:
        """[O, N]."""
        y = torch.mm(self.weight, x)
        if self.lora is not None:
            # To add in the product itself, as addmm does, takes longer.
            y += torch.mm(self.lora.b, torch.mm(self.lora.a, x))
        return y


class _Norm:
    """The RMS norm (arXiv 1910.07467) of x [H, N] over H, in 6 operations; torch's own are 10."""

    def __init__(self, norm: Any) -> None:
        self.weight = norm.weight[:, None]
        self.epsilon = torch.tensor(norm.variance_epsilon)

    def apply(self, x: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(x, dim=0, dtype=torch.float32)
        scale = torch.addcmul(self.epsilon, lengths, lengths, value=1 / len(x)).rsqrt_()
        return (x * scale).to(x.dtype).mul_(self.weight)


class _Layer(NamedTuple):
    attention_norm: "_Norm"
    attention: Product
    output: Product
    gate_norm: "_Norm"
    gate: Product
    down: Product


def count_columns(number: int) -> int:
    """How many columns the products of so many tokens have."""
    return number if number == 1 else -(-number // COLUMNS) * COLUMNS


def can_decode(model: "LanguageModel") -> bool:
    """Whether this is a Llama on a CPU with plain linear layers, LoRA layers on some of them or none."""
    from transformers import LlamaForCausalLM
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    causal = _find_causal(model)
    if type(causal) is not LlamaForCausalLM or causal.device.type != "cpu" or not has_plain_head(model):
        return False
    decoder: Any = causal.model
    return (
        causal.config.hidden_act == "silu"
        and causal.get_output_embeddings().bias is None
        and type(decoder.embed_tokens) is torch.nn.Embedding
        and all(type(norm) is LlamaRMSNorm for norm in _list_norms(decoder))
        and all(_is_plain(module) for layer in decoder.layers for module in _list_projections(layer))
    )


def _find_causal(model: "LanguageModel") -> Any:
    """The model with its head, and LoRA layers in it, without PEFT's wrapper."""
    outer: Any = model
    return outer.get_base_model() if hasattr(outer, "get_base_model") else outer


def _list_norms(decoder: Any) -> list[Any]:
    own = [norm for layer in decoder.layers for norm in (layer.input_layernorm, layer.post_attention_layernorm)]
    return [*own, decoder.norm]


def _list_projections(layer: Any) -> list[Any]:
    return [getattr(layer.self_attn, name, None) or getattr(layer.mlp, name) for name in PROJECTIONS]


def _is_plain(module: Any) -> bool:
    """Whether this is x W^T, and B A x with it where it is a LoRA layer."""
    # PEFT takes a second to import, and a base model needs none of it.
    if type(module) is not torch.nn.Linear:
        from peft.tuners.lora import Linear

        if type(module) is not Linear:
            return False
        (adapter, *others) = module.active_adapters or [""]
        if others or module.merged or module.disable_adapters or adapter not in module.lora_A:
            return False
        if module.lora_variant or module.lora_bias[adapter] or module.training:
            return False
        module = module.base_layer
    return type(module) is torch.nn.Linear and module.bias is None


class _Columns(NamedTuple):
    """Which token each of N columns of activations is; those from `number` on are padding."""

    tokens: Tensor
    """[N]."""
    rows: Tensor
    """[N]."""
    offsets: Tensor
    """[N]: which of its row's new tokens."""
    places: Tensor
    """[N]: its position in the row."""
    number: int
    most: int
    """New tokens of a row, rounded up to a power of two: kernels are made for each shape."""
    blocks: Tensor | None
    """[rows, most]: the columns of each row's new tokens, padded; None where each row is one column."""


def _list_columns(tokens: Sequence[Sequence[int]], cache: DecodingCache) -> _Columns:
    numbers = [len(own) for own in tokens]
    count, longest = sum(numbers), max(numbers)
    padding = [0] * (count_columns(count) - count)
    rows = torch.tensor([row for row, number in enumerate(numbers) for _ in range(number)] + padding)
    offsets = torch.tensor([offset for number in numbers for offset in range(number)] + padding)
    places = cache.lengths[rows] + offsets
    ids = torch.tensor([token for own in tokens for token in own] + padding)
    most = 1 << (longest - 1).bit_length()
    blocks = None
    if longest > 1:
        first = torch.tensor([0, *accumulate(numbers[:-1])])
        # A row with fewer tokens has its first one there again, and nobody reads what it attends to.
        inner = torch.arange(most)
        blocks = first[:, None] + inner * (inner < torch.tensor(numbers)[:, None])
    return _Columns(ids, rows, offsets, places, count, most, blocks)


class StepDecoder:
    """A Llama that `can_decode`, some tokens a row at a time. Only joined weights are copied."""

    def __init__(self, model: "LanguageModel") -> None:
        causal = _find_causal(model)
        config, decoder = causal.config, causal.model
        self.embeddings, self.rotary, self.norm = decoder.embed_tokens, decoder.rotary_emb, _Norm(decoder.norm)
        self.head = causal.get_output_embeddings().weight
        self.size = decoder.layers[0].self_attn.head_dim
        self.heads, self.pairs = config.num_attention_heads, config.num_key_value_heads
        self.layers = [_join_layer(layer) for layer in decoder.layers]

    def make_cache(self, slots: int) -> DecodingCache:
        return DecodingCache(slots, len(self.layers), self.pairs, self.size, self.head.dtype)

    def drop_lora(self) -> "StepDecoder":
        """The base of this model, of the same weights."""
        base = copy.copy(self)
        base.layers = [
            layer._replace(**{name: getattr(layer, name)._replace(lora=None) for name in PRODUCTS})
            for layer in base.layers
        ]
        return base

    def step(
        self,
        tokens: Sequence[Sequence[int]],
        cache: DecodingCache,
        biases: Sequence[tuple[int, int, float]] = (),
        noises: Sequence[tuple[int, int, Tensor]] = (),
    ) -> list[list[int]]:
        """The likeliest token after each of these: each row's next one, and what may follow it.

        `cache.advance` says how many of them become part of the rows. `biases`: (row, token, what is added to its
        logit) after a row's next token. `noises`: (row, which of its tokens, [V] what is added to all logits after it).
        """
        logits = self.compute_logits(tokens, cache)
        columns = list(accumulate((len(own) for own in tokens), initial=0))
        for row, token, value in biases:
            logits[token, columns[row]] += value
        best = logits.max(0).indices.tolist()
        for row, offset, noise in noises:
            # In fp32: sums that are rounded to bf16 tie, and the first of equals would be drawn too often.
            column = columns[row] + offset
            best[column] = int((logits[:, column].float() + noise).argmax())
        chosen = iter(best)
        return [list(islice(chosen, len(own))) for own in tokens]

    def compute_logits(self, tokens: Sequence[Sequence[int]], cache: DecodingCache) -> Tensor:
        """[V, N]: what follows each of the rows' N next tokens, row by row; each sees those of its row before it."""
        columns = _list_columns(tokens, cache)
        cache.make_room(columns.most)
        x = self.embeddings(columns.tokens).t().contiguous()
        turns = self._list_turns(x, columns.places)
        unseen = cache.list_unseen(columns.most)
        bias = x.new_zeros(unseen.shape).masked_fill_(unseen, -torch.inf)[:, None]
        for number, layer in enumerate(self.layers):
            qkv = layer.attention.apply(layer.attention_norm.apply(x))
            x += layer.output.apply(self._attend(number, qkv, turns, bias, columns, cache))
            gate, up = layer.gate.apply(layer.gate_norm.apply(x)).chunk(2)
            x += layer.down.apply(torch.nn.functional.silu(gate).mul_(up))
        return torch.mm(self.head, self.norm.apply(x))[:, : columns.number]

    def _list_turns(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [H + P, D, N] of query and key heads; those of queries scaled, as attention wants them."""
        cosine, sine = (each[:, 0].t() for each in self.rotary(x, positions[:, None]))
        half = self.size // 2
        scale = x.new_ones(self.heads + self.pairs, 1, 1)
        scale[: self.heads] = self.size**-0.5
        return cosine * scale, torch.cat([-sine[:half], sine[half:]]) * scale

    def _attend(
        self,
        number: int,
        qkv: Tensor,
        turns: tuple[Tensor, Tensor],
        bias: Tensor,
        columns: "_Columns",
        cache: DecodingCache,
    ) -> Tensor:
        """[H D, N] of qkv [(H + 2 P) D, N]; the cache gets keys and values, the keys turned by their positions.

        A row's new tokens and a group's query heads stand in one product with the head that they share.
        """
        rows, most, half = cache.count, columns.most, self.size // 2
        turned, values = qkv.view(-1, self.size, qkv.shape[1]).split([self.heads + self.pairs, self.pairs])
        crossed = torch.cat([turned[:, half:], turned[:, :half]], dim=1)
        turned = turned.mul_(turns[0]).addcmul_(crossed, turns[1]).permute(2, 0, 1)
        queries, keys = turned.split([self.heads, self.pairs], dim=1)
        real = slice(columns.number)
        cache.write(number, columns.rows[real], columns.places[real], keys[real], values.permute(2, 0, 1)[real])
        queries = queries[real if columns.blocks is None else columns.blocks]
        queries = queries.reshape(rows, most, self.pairs, -1, self.size).permute(0, 2, 3, 1, 4)
        before, held = (part[number][:rows].flatten(0, 1) for part in (cache.keys, cache.values))
        scores = torch.bmm(queries.reshape(rows * self.pairs, -1, self.size), before)
        scores.view(rows, self.heads, most, -1).add_(bias)
        attended = torch.bmm(scores.softmax(-1), held).view(rows, self.heads, most, self.size)
        if columns.blocks is not None:
            return attended.transpose(1, 2)[columns.rows, columns.offsets].flatten(1).t()
        padding = qkv.shape[1] - rows
        return torch.nn.functional.pad(attended.view(rows, -1), (0, 0, 0, padding)).t()


def _join_layer(layer: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return _Layer(
        _Norm(layer.input_layernorm),
        _join([attention.q_proj, attention.k_proj, attention.v_proj]),
        _join([attention.o_proj]),
        _Norm(layer.post_attention_layernorm),
        _join([mlp.gate_proj, mlp.up_proj]),
        _join([mlp.down_proj]),
    )


def _join(modules: Sequence[Any]) -> Product:
    """Linear layers of one input as one product."""
    bases = [module.base_layer if hasattr(module, "base_layer") else module for module in modules]
    weight = bases[0].weight if len(bases) == 1 else torch.cat([base.weight for base in bases])
    downs: list[Tensor] = []
    ups: list[Tensor] = []
    for module, base in zip(modules, bases, strict=True):
        if module is base:
            ups.append(weight.new_zeros(len(base.weight), 0))
        else:
            [adapter] = module.active_adapters
            downs.append(module.lora_A[adapter].weight.to(weight.dtype))
            ups.append((module.lora_B[adapter].weight * module.scaling[adapter]).to(weight.dtype))
    return Product(weight, LoraUpdate(torch.cat(downs), torch.block_diag(*ups)) if downs else None)
