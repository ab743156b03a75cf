"""Norms, gates and rotations of a Llama on a GPU: by liger-kernel's kernels where it is installed.

Liger-Kernel (arXiv 2410.10989) is not a requirement of the project; requirements-cuda.txt pins it. Without it a gate
and a rotation are one autograd function each, and the norms are the library's. The loss needs none of it: only trained
tokens reach the head, a chunk at a time (answer_loss.py), and no number is read back for that.
"""

import types
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor

from netllama.cpu_layers.fast_blocks import Gated, Rotary
from netllama.training.fused_lora import apply_fused


class Kernels(NamedTuple):
    """What computes the parts of a layer that are no matrix products."""

    name: str
    norm: Callable[[Tensor, Tensor, float], Tensor] | None
    """Of x [..., H], the weight [H] and epsilon; None: transformers' own."""
    gate: Callable[[Tensor, Tensor], Tensor]
    """silu(gate) * up."""
    rotate: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    """Queries [B, T, H D] and keys [B, T, H / G, D], by cos and sin [B or 1, T, D], to [B, H, T, D]."""


def choose_kernels() -> Kernels:
    """liger-kernel's on CUDA where it is installed, torch's elsewhere."""
    if torch.cuda.is_available() and find_spec("liger_kernel"):
        return load_liger()
    return Kernels("torch", None, Gated.apply, _rotate)


def load_liger() -> Kernels:
    from liger_kernel.ops.rms_norm import LigerRMSNormFunction
    from liger_kernel.ops.rope import LigerRopeFunction
    from liger_kernel.ops.swiglu import LigerSiLUMulFunction

    def norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        normed: Tensor = LigerRMSNormFunction.apply(x, weight, epsilon, 0.0, "llama", False)
        return normed

    def rotate(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        size = cos.shape[-1]
        query, key = (part.view(*part.shape[:-1], -1, size).transpose(1, 2) for part in (query, key))
        turned: tuple[Tensor, Tensor] = LigerRopeFunction.apply(query, key, cos, sin)
        return turned

    return Kernels("liger-kernel", norm, LigerSiLUMulFunction.apply, rotate)


def _rotate(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    return Rotary.apply(query, cos, sin, 1.0), Rotary.apply(key, cos, sin, 1.0)


def use_fused_blocks(model: torch.nn.Module) -> str:
    """Let the norms, gated layers and attention of a Llama compute this way; the name of the kernels."""
    from transformers.models.llama.modeling_llama import LlamaAttention, LlamaMLP, LlamaRMSNorm

    kernels = choose_kernels()
    for module in model.modules():
        if type(module) is LlamaRMSNorm and kernels.norm and not module.weight.requires_grad:
            module.__dict__["forward"] = types.MethodType(_norm, module)
        elif type(module) is LlamaMLP and type(module.act_fn).__name__ in ("SiLU", "SiLUActivation"):
            module.__dict__["forward"] = types.MethodType(_gate, module)
        elif type(module) is LlamaAttention:
            module.__dict__["forward"] = types.MethodType(_attend, module)
        else:
            continue
        module.__dict__["kernels"] = kernels
    return kernels.name


def _norm(self: Any, x: Tensor) -> Tensor:
    normed: Tensor = self.kernels.norm(x, self.weight, self.variance_epsilon)
    return normed


def _gate(self: Any, x: Tensor) -> Tensor:
    gate, up = apply_fused([self.gate_proj, self.up_proj], x)
    down: Tensor = self.down_proj(self.kernels.gate(gate, up))
    return down


def _attend(
    self: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """As LlamaAttention: hidden_states [B, T, H] -> as many."""
    from transformers.models.llama.modeling_llama import ALL_ATTENTION_FUNCTIONS, eager_attention_forward

    query, key, value = apply_fused([self.q_proj, self.k_proj, self.v_proj], hidden_states)
    query, key = self.kernels.rotate(query, key, *position_embeddings)
    value = value.view(*value.shape[:-1], -1, self.head_dim).transpose(1, 2)
    if past_key_values is not None:
        key, value = past_key_values.update(key, value, self.layer_idx)
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
    dropout = self.attention_dropout if self.training else 0.0
    attended, weights = attend(
        self, query, key, value, attention_mask, dropout=dropout, scaling=self.scaling, **options
    )
    return self.o_proj(attended.reshape(*hidden_states.shape[:-1], -1)), weights
