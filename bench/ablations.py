"""What `bench.train --ablation` switches off: each technique of the stage train, replaced by the usual one.

A patch maps a name in the stage's code to its replacement; everything else is an argument of `train_ours`.
"""

import types
from typing import Any


def draw_bernoulli_mask(pool: Any, shape: Any) -> Any:
    """A mask as torch's dropout draws it, with one random number per entry."""
    import torch

    return torch.empty(shape, dtype=pool.dtype).bernoulli_(1 - pool.rate)


def compile_blocks(model: Any) -> None:
    """Apply torch.compile to transformers' own norms and gates, which use_fast_blocks would replace."""
    import torch
    from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

    @torch.compile(dynamic=True)
    def norm(x: Any, weight: Any, epsilon: float) -> Any:
        wide = x.float()
        return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)).to(x.dtype)

    @torch.compile(dynamic=True)
    def gated(gate: Any, up: Any) -> Any:
        return torch.nn.functional.silu(gate) * up

    def norm_forward(self: Any, x: Any) -> Any:
        return norm(x, self.weight, self.variance_epsilon)

    def gated_forward(self: Any, x: Any) -> Any:
        return self.down_proj(gated(self.gate_proj(x), self.up_proj(x)))

    for module in model.modules():
        if isinstance(module, LlamaRMSNorm):
            module.__dict__["forward"] = types.MethodType(norm_forward, module)
        if isinstance(module, LlamaMLP):
            module.__dict__["forward"] = types.MethodType(gated_forward, module)


def compile_layers(model: Any) -> None:
    """Apply torch.compile to whole decoder layers, including LoRA."""
    import torch

    # All 30 layers share one compiled code, with a guard or two for each layer.
    torch._dynamo.config.recompile_limit = 256
    for layer in model.get_base_model().model.layers:
        layer.__dict__["forward"] = torch.compile(layer.forward, dynamic=True)


FUSED = "netllama.training.setup.use_fast_layers"
BLOCKS = "netllama.cpu_layers.fast_blocks.use_fast_blocks"
ATTENTION = "netllama.cpu_layers.attention.use_cpu_attention"
ABLATIONS: dict[str, dict[str, Any]] = {
    "completion-only logits": {"patches": {"netllama.training.answer_loss.has_plain_head": lambda model: False}},
    "chunked cross-entropy": {"patches": {"netllama.training.answer_loss.CHUNK": 10**9}},
    "fused LoRA layers": {"patches": {FUSED: lambda model: []}},
    "fused norms and gates": {"patches": {BLOCKS: lambda model: None}},
    "fused norms and gates: torch.compile instead": {"patches": {BLOCKS: compile_blocks}},
    "any fused layer: torch.compile instead": {
        "patches": {FUSED: lambda model: [], BLOCKS: compile_layers, ATTENTION: lambda model: None}
    },
    "cheap dropout masks": {"patches": {"netllama.cpu_layers.dropout_pool.DropoutPool.mask": draw_bernoulli_mask}},
    "blocked attention": {"patches": {ATTENTION: lambda model: None}},
    "bounded kernel cache": {"patches": {"netllama.cpu_layers.limits.limit_kernel_cache": lambda: None}},
    "cached NF4": {"quantized_weights": "packed"},
    "length grouping": {"group_by_length": False},
}
