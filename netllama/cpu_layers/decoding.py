"""One new token of each of several rows, as fast as a CPU reads the weights.

A step's matrix products have few rows, so reading the weights is what takes time. Everything else is kept small: q, k
and v are one product, as are gate and up; activations are [features, rows], so that a product takes each weight as it
lies in memory (for 24 rows in bf16 that took two thirds of the time of x W^T, for which it is rearranged at each call).
A Llama's layers call 80 modules a token; here a layer is 25 operations.
"""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from netllama.cpu_layers.decoding_cache import DecodingCache
from netllama.models.output_head import has_plain_head

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class LoraUpdate(NamedTuple):
    """What LoRA adds to a product: B (A x)."""

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
        return y if self.lora is None else y.addmm_(self.lora.b, torch.mm(self.lora.a, x))

    def add_to(self, y: Tensor, x: Tensor) -> None:
        """y += W x + B A x."""
        y.addmm_(self.weight, x)
        if self.lora is not None:
            y.addmm_(self.lora.b, torch.mm(self.lora.a, x))


class _Layer(NamedTuple):
    attention_norm: Any
    attention: Product
    output: Product
    gate_norm: Any
    gate: Product
    down: Product


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
    from peft.tuners.lora import Linear

    if type(module) is Linear:
        (adapter, *others) = module.active_adapters or [""]
        if others or module.merged or module.disable_adapters or adapter not in module.lora_A:
            return False
        if module.lora_variant or module.lora_bias[adapter] or module.training:
            return False
        module = module.base_layer
    return type(module) is torch.nn.Linear and module.bias is None


class StepDecoder:
    """A Llama that `can_decode`, one token a row at a time. Only joined weights are copied."""

    def __init__(self, model: "LanguageModel") -> None:
        causal = _find_causal(model)
        config, decoder = causal.config, causal.model
        self.embeddings, self.rotary, self.norm = decoder.embed_tokens, decoder.rotary_emb, decoder.norm
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
            _Layer(*(part._replace(lora=None) if isinstance(part, Product) else part for part in layer))
            for layer in self.layers
        ]
        return base

    def step(self, tokens: Sequence[int], cache: DecodingCache) -> list[int]:
        """Each row's likeliest token after its next one, which becomes part of the cache."""
        chosen: list[int] = self.compute_logits(tokens, cache).max(0).indices.tolist()
        return chosen

    def compute_logits(self, tokens: Sequence[int], cache: DecodingCache) -> Tensor:
        """[V, N]: of the token after each row's next one, which becomes part of the cache."""
        cache.make_room()
        rows = cache.count
        x = self.embeddings(torch.tensor(tokens)).t().contiguous()
        # [1, D, N]: what turns queries and keys, of all heads.
        turns = [each[:, 0].t()[None].contiguous() for each in self.rotary(x, cache.lengths[:rows, None])]
        unseen = x.new_zeros(rows, cache.places).masked_fill_(cache.list_unseen(), -torch.inf)
        bias = unseen[:, None, None].expand(-1, self.pairs, self.heads // self.pairs, -1).flatten(0, 1)
        for number, layer in enumerate(self.layers):
            qkv = layer.attention.apply(_normalise(x, layer.attention_norm)).view(-1, self.size, rows)
            self._write(number, qkv, turns, cache)
            layer.output.add_to(x, self._attend(number, qkv[: self.heads], bias, cache))
            gate, up = layer.gate.apply(_normalise(x, layer.gate_norm)).chunk(2)
            layer.down.add_to(x, torch.nn.functional.silu(gate).mul_(up))
        cache.advance()
        return torch.mm(self.head, _normalise(x, self.norm))

    def _write(self, number: int, qkv: Tensor, turns: Sequence[Tensor], cache: DecodingCache) -> None:
        """Turn queries and keys, in place, by their positions; the cache gets keys and values."""
        rows, place = cache.count, cache.width
        turned = qkv[: self.heads + self.pairs]
        cosine, sine = turns
        half = self.size // 2
        crossed = torch.cat([turned[:, half:].neg(), turned[:, :half]], dim=1).mul_(sine)
        turned.mul_(cosine).add_(crossed)
        keys, values = qkv[self.heads :].permute(2, 0, 1).chunk(2, dim=1)
        cache.keys[number][:rows, :, :, place] = keys
        cache.values[number][:rows, :, place] = values

    def _attend(self, number: int, queries: Tensor, bias: Tensor, cache: DecodingCache) -> Tensor:
        """[H D, N]: a group's query heads stand in one product with the head that they share."""
        rows = cache.count
        grouped = queries.permute(2, 0, 1).reshape(rows * self.pairs, -1, self.size) * self.size**-0.5
        keys, values = (part[number][:rows].flatten(0, 1) for part in (cache.keys, cache.values))
        attention = torch.baddbmm(bias, grouped, keys).softmax(-1)
        return torch.bmm(attention, values).view(rows, -1).t()


def _normalise(x: Tensor, norm: Any) -> Tensor:
    """The RMS norm of x [H, N] over H."""
    wide = x.float()
    scale = wide.square().mean(0).add_(norm.variance_epsilon).rsqrt_()
    return (wide * scale).to(x.dtype).mul_(norm.weight[:, None])


def _join_layer(layer: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return _Layer(
        layer.input_layernorm,
        _join([attention.q_proj, attention.k_proj, attention.v_proj]),
        _join([attention.o_proj]),
        layer.post_attention_layernorm,
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
