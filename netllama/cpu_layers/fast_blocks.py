"""Norms, gates and rotated attention of a Llama that a CPU computes fast: the same sums in fewer passes over memory."""

import types
from typing import Any

import torch
from torch import Tensor

from netllama.cpu_layers.fast_lora_layers import (
    apply_together,
    compute_gradients,
    compute_layers,
    draw_mask,
    group_fields,
    load_kept,
    read,
    save_kept,
    to_rows,
)


class RMSNorm(torch.autograd.Function):
    """weight * x / sqrt(mean(x^2) + epsilon) over the last dimension, for a frozen weight (arXiv 1910.07467)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = x.float()
        squares = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_()
        scale = squares.div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        result: Tensor = weight * (wide * scale).to(x.dtype)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, weight, scale = ctx.saved_tensors
        rows, slope, size = to_rows(x), to_rows(gradients[0]), x.shape[-1]
        # torch's kernel for the layer norm in one pass, with 0 as the mean. It takes the mean of the gradient out,
        # which a norm without a mean keeps.
        scale, mean = scale.view(-1, 1), torch.mv(slope, weight)[:, None] / size
        result = torch.ops.aten.native_layer_norm_backward(
            slope, rows, [size], torch.zeros_like(scale), scale, weight.float(), None, [True, False, False]
        )[0]
        return result.add_((mean * scale).to(x.dtype)).view(x.shape), None, None


class Rotary(torch.autograd.Function):
    """scale x, with each pair of entries i and D / 2 + i turned by the angle of its position (arXiv 2104.09864).

    x [B, T, H D] -> [B, H, T, D]; cos and sin are [B or 1, T, D], both halves of D alike.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, scale: float) -> Tensor:
        size = cos.shape[-1]
        cos, sin = cos * scale, sin * scale
        signed = torch.cat((-sin[..., : size // 2], sin[..., size // 2 :]), -1)
        ctx.save_for_backward(cos, signed)
        return _rotate(x.view(*x.shape[:-1], -1, size).transpose(1, 2), cos[:, None], signed[:, None])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        cos, signed = ctx.saved_tensors
        # By the same angle, back.
        return _rotate(gradients[0].transpose(1, 2), cos[:, :, None], -signed[:, :, None]).flatten(2), None, None, None


def _rotate(x: Tensor, cos: Tensor, signed: Tensor) -> Tensor:
    """Contiguous, whatever x is."""
    half = x.shape[-1] // 2
    return torch.cat((x[..., half:], x[..., :half]), -1).mul_(signed).addcmul_(x, cos)


class Gated(torch.autograd.Function):
    """silu(gate) * up, of one shape; silu is computed again in the backward pass instead of kept."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        return _gated_gradients(gradients[0], gate, up, torch.nn.functional.silu(gate))


class GatedLoraLinear(torch.autograd.Function):
    """LoraLinear of silu(gate) * up [..., I], which is computed again in the backward pass instead of kept."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, mask: Tensor | None, *layer: Any) -> Tensor:
        (y,), kept = compute_layers(to_rows(torch.nn.functional.silu(gate).mul_(up)), mask, group_fields(layer))
        save_kept(ctx, kept, gate, up, mask)
        return y.view(*gate.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gate, up, mask), kept = load_kept(ctx, 3)
        activated = torch.nn.functional.silu(gate)
        of_x, of_layer = compute_gradients([to_rows(gradients[0])], to_rows(activated * up), mask, kept, True)
        assert of_x is not None
        return *_gated_gradients(of_x.view(gate.shape), gate, up, activated), None, *of_layer


def _gated_gradients(gradient: Tensor, gate: Tensor, up: Tensor, activated: Tensor) -> tuple[Tensor, Tensor]:
    """Of gate and up; `activated` is silu(gate), whose memory is used."""
    return torch.ops.aten.silu_backward(gradient * up, gate), activated.mul_(gradient)


def use_fast_blocks(model: torch.nn.Module) -> None:
    """Let the frozen RMS norms, the gated layers and the attention of a Llama compute this way."""
    from transformers.models.llama.modeling_llama import LlamaAttention, LlamaMLP, LlamaRMSNorm

    for module in model.modules():
        if type(module) is LlamaRMSNorm and not module.weight.requires_grad:
            module.__dict__["forward"] = types.MethodType(_norm, module)
        if type(module) is LlamaMLP and type(module.act_fn).__name__ in ("SiLU", "SiLUActivation"):
            module.__dict__["forward"] = types.MethodType(_gate, module)
        if type(module) is LlamaAttention:
            module.__dict__["forward"] = types.MethodType(_attend, module)


def _norm(self: Any, x: Tensor) -> Tensor:
    normed: Tensor = RMSNorm.apply(x, self.weight, self.variance_epsilon)
    return normed


def _gate(self: Any, x: Tensor) -> Tensor:
    gate, up = apply_together([self.gate_proj, self.up_proj], x)
    down = self.down_proj
    if not hasattr(down, "dropout_pool") or down.disable_adapters:
        plain: Tensor = down(Gated.apply(gate, up))
        return plain
    y: Tensor = GatedLoraLinear.apply(gate, up, draw_mask(down, gate), *read(down))
    return y


def _attend(
    self: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """As LlamaAttention, but the queries are scaled when they are rotated: hidden_states [B, T, H] -> as many."""
    from transformers.models.llama.modeling_llama import ALL_ATTENTION_FUNCTIONS, eager_attention_forward

    query, key, value = apply_together([self.q_proj, self.k_proj, self.v_proj], hidden_states)
    query = Rotary.apply(query, *position_embeddings, self.scaling)
    key = Rotary.apply(key, *position_embeddings, 1.0)
    value = value.view(*value.shape[:-1], -1, self.head_dim).transpose(1, 2)
    if past_key_values is not None:
        key, value = past_key_values.update(key, value, self.layer_idx)
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
    dropout = self.attention_dropout if self.training else 0.0
    attended, weights = attend(self, query, key, value, attention_mask, dropout=dropout, scaling=1.0, **options)
    return self.o_proj(attended.reshape(*hidden_states.shape[:-1], -1)), weights
