"""LoRA layers on a GPU as one autograd function, over plain or over packed NF4 weights.

PEFT's layer casts its input to fp32, drops, casts back, multiplies and adds as operations of their own, and keeps most
of what is between them; bitsandbytes unpacks the weight of each layer by itself. Here it is the sums of
cpu_layers/fast_lora_layers.py: a packed weight is dequantized once forward and once backward, for layers of one input
that is dropped once, by one mask out of a pool.
"""

import types
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from netllama.cpu_layers.dropout_pool import DropoutPool
from netllama.cpu_layers.fast_lora_layers import FIELDS, Kept, Layer, compute_gradients, compute_layers, to_rows


class FusedLora(torch.autograd.Function):
    """y_i = x W_i^T + bias_i + scale_i (mask * x) A_i^T B_i^T of each layer i; W_i and its bias are frozen.

    x [..., I], the mask [N, I] and y_i [..., O_i] are of one precision, A and B and their gradients in fp32. `bases`
    are the frozen layers, `scales` hold 1 / (1 - rate), and A_i, B_i follow each other in `matrices`.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mask: Tensor | None, bases: Sequence[Any], scales: Sequence[float], *matrices: Tensor
    ) -> tuple[Tensor, ...]:
        layers = [
            Layer(
                read_weight(base, x.dtype),
                _read_bias(base, x.dtype),
                matrices[2 * at],
                matrices[2 * at + 1],
                scales[at],
            )
            for at, base in enumerate(bases)
        ]
        results, kept = compute_layers(to_rows(x), mask, layers)
        # Not the weights: packed ones are dequantized again, plain ones are in the model.
        ctx.save_for_backward(x, mask, *(tensor for each in kept for tensor in (each.a, each.b, each.low)))
        ctx.bases, ctx.scales = bases, scales
        return tuple(y.view(*x.shape[:-1], -1) for y in results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, mask, *saved = ctx.saved_tensors
        kept = [
            Kept(read_weight(base, x.dtype), saved[3 * at], saved[3 * at + 1], saved[3 * at + 2], ctx.scales[at])
            for at, base in enumerate(ctx.bases)
        ]
        slopes = [to_rows(each) for each in gradients]
        of_x, of_layers = compute_gradients(slopes, to_rows(x), mask, kept, ctx.needs_input_grad[0])
        # Of each layer's fields (W, bias, A, B, scale) only A and B have a gradient.
        matrices = [of_layers[at + field] for at in range(0, len(of_layers), FIELDS) for field in (2, 3)]
        return None if of_x is None else of_x.view(x.shape), None, None, None, *matrices


def read_weight(base: Any, dtype: torch.dtype) -> Tensor:
    """W [O, I] of a frozen linear layer, dequantized where it is packed."""
    if type(base) is torch.nn.Linear:
        plain: Tensor = base.weight
        return plain.to(dtype)
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import fix_4bit_weight_quant_state_from_module

    fix_4bit_weight_quant_state_from_module(base)
    unpacked: Tensor = dequantize_4bit(base.weight.data, base.weight.quant_state).to(dtype)
    return unpacked


def _read_bias(base: Any, dtype: torch.dtype) -> Tensor | None:
    return None if base.bias is None else base.bias.to(dtype)


def find_precision(base: Any) -> torch.dtype:
    """In which a frozen linear layer computes."""
    if type(base) is torch.nn.Linear:
        plain: torch.dtype = base.weight.dtype
        return plain
    computed: torch.dtype = base.compute_dtype or base.weight.quant_state.dtype
    return computed


def use_fused_layers(model: torch.nn.Module, device: torch.device) -> list[DropoutPool]:
    """Let the LoRA layers of `model` on frozen linear layers compute this way; the pools to refresh each step.

    Layers of another kind (int8, DoRA) go on as PEFT has them.
    """
    pools: dict[tuple[float, torch.dtype], DropoutPool] = {}
    for module in model.modules():
        if not _is_fusible(module):
            continue
        rate, dtype = _read_rate(module), find_precision(module.base_layer)
        if (rate, dtype) not in pools:
            pools[rate, dtype] = DropoutPool(rate, dtype, device)
        module.__dict__["fused_pool"] = pools[rate, dtype]
        module.__dict__["forward"] = types.MethodType(_forward, module)
    return [pool for pool in pools.values() if pool.rate]


def _is_fusible(module: Any) -> bool:
    from peft.tuners.lora import LoraLayer

    if not isinstance(module, LoraLayer) or type(module).__name__ not in ("Linear", "Linear4bit"):
        return False
    from bitsandbytes.nn import Linear4bit

    base: Any = module.base_layer
    return (
        type(base) in (torch.nn.Linear, Linear4bit)
        and not base.weight.requires_grad
        and not module.lora_variant
        and not module.lora_bias["default"]
        and module.active_adapters == ["default"]
    )


def _read_rate(module: Any) -> float:
    return float(getattr(module.lora_dropout["default"], "p", 0.0))


def _forward(module: Any, x: Tensor) -> Tensor:
    return apply_fused([module], x)[0]


def apply_fused(modules: Sequence[Any], x: Tensor) -> tuple[Tensor, ...]:
    """What each of `modules` makes of x [..., I]: in one function where they are fused LoRA layers that drop alike."""
    pools = {id(getattr(module, "fused_pool", None)) for module in modules}
    if len(pools) > 1 or not hasattr(modules[0], "fused_pool"):
        return tuple(module(x) for module in modules)
    pool = modules[0].fused_pool
    x = x.to(pool.dtype)
    if modules[0].disable_adapters:  # in PEFT's `with model.disable_adapter()`
        return tuple(module.base_layer(x) for module in modules)
    drops = modules[0].training and pool.rate
    mask = pool.mask(torch.Size((x.shape[:-1].numel(), x.shape[-1]))) if drops else None
    scales = [module.scaling["default"] / (1 - pool.rate if drops else 1) for module in modules]
    matrices = [
        weight for module in modules for weight in (module.lora_A["default"].weight, module.lora_B["default"].weight)
    ]
    made: tuple[Tensor, ...] = FusedLora.apply(x, mask, [module.base_layer for module in modules], scales, *matrices)
    return made
