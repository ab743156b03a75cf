"""LoRA layers, dropout masks, norms and gates that a CPU computes fast: the same sums in fewer passes over memory.

PEFT's layer casts, drops, scales and adds as operations of their own, and draws a mask for each of the 210 layers of
the bundled model: bernoulli_ alone took 20% of a step. Here a layer is one autograd function of three matrix products
forward and five backward (the frozen weight gets no gradient), and masks are cut out of a pool of random bits.
"""

import types
from typing import Any

import torch
from torch import Tensor

# Places in the pool where a mask may begin, 16 MB in bf16: several times the largest mask of a batch of 1,500 tokens.
POOL = 2**23


class DropoutPool:
    """Keep-masks of independent entries: each is a slice, at a random offset, of one pool that is drawn anew each step.

    Entries of one mask are independent; masks of two layers may overlap in the pool, shifted against each other.
    """

    def __init__(self, rate: float, dtype: torch.dtype) -> None:
        self.rate, self.dtype = rate, dtype
        self._largest = 0
        self.refresh()

    def refresh(self) -> None:
        """New random bits, from torch's generator: masks are a function of its state here and at each `mask`.

        Of nothing else: where gradients are checkpointed, a layer that runs again from the same state must get its
        mask again. So the bits are of a seed drawn here, and more of them, for a larger mask, begin with the same ones.
        """
        self._seed = int(torch.randint(2**63 - 1, ()))
        self._pool = torch.empty(0)

    def mask(self, shape: torch.Size) -> Tensor:
        """0 or 1 of `shape`, 1 with the probability 1 - rate."""
        size = shape.numel()
        if len(self._pool) < POOL + size:
            self._largest = max(self._largest, size)
            self._pool = self._draw(POOL + self._largest)
        offset = int(torch.randint(POOL, ()))
        return self._pool[offset : offset + size].view(shape)

    def _draw(self, size: int) -> Tensor:
        # Four 16-bit numbers from each 64 random bits, compared as whole numbers: a third of bernoulli_'s time.
        generator = torch.Generator().manual_seed(self._seed)
        bits = torch.empty(-(-size // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
        return (bits.view(torch.int16)[:size] >= round(self.rate * 2**16) - 2**15).to(self.dtype)


class LoraLinear(torch.autograd.Function):
    """y = x W^T + bias + scale (mask * x) A^T B^T, for a frozen W [O, I] and bias, A [R, I] and B [O, R] in fp32.

    x [..., I] and y [..., O] are in W's precision, the gradients of A and B in fp32. `scale` holds 1 / (1 - rate).
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scale: float,
        mask: Tensor | None,
    ) -> Tensor:
        y, kept = _lora(_rows(x), weight, bias, a, b, scale, mask)
        ctx.save_for_backward(x, *kept)
        ctx.scale = scale
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *kept = ctx.saved_tensors
        x_gradient, *trained = _lora_gradients(
            _rows(gradients[0]), _rows(x), tuple(kept), ctx.scale, ctx.needs_input_grad[0]
        )
        return x_gradient if x_gradient is None else x_gradient.view(x.shape), None, None, *trained, None, None


class GatedLoraLinear(torch.autograd.Function):
    """LoraLinear of silu(gate) * up [..., I], which is computed again in the backward pass instead of kept."""

    @staticmethod
    def forward(
        ctx: Any,
        gate: Tensor,
        up: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scale: float,
        mask: Tensor | None,
    ) -> Tensor:
        y, kept = _lora(_rows(_gated(gate, up)), weight, bias, a, b, scale, mask)
        ctx.save_for_backward(gate, up, *kept)
        ctx.scale = scale
        return y.view(*gate.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gate, up, *kept = ctx.saved_tensors
        flat = _rows(_gated(gate, up))
        x_gradient, *trained = _lora_gradients(_rows(gradients[0]), flat, tuple(kept), ctx.scale, True)
        assert x_gradient is not None
        return *_gated_gradients(x_gradient.view(gate.shape), gate, up), None, None, *trained, None, None


_Kept = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]
"""W, A and B in W's precision, scale A x, and the mask: what the gradients need besides the input."""


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _lora(
    flat: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float, mask: Tensor | None
) -> tuple[Tensor, _Kept]:
    """y [N, O] of flat [N, I], and what its gradients need besides."""
    a, b = a.to(weight.dtype), b.to(weight.dtype)
    # The scale goes into what is narrow: [N, R] instead of [N, O], and in the backward pass instead of A and B.
    low = torch.mm(flat if mask is None else flat * mask, a.t()).mul_(scale)
    y = torch.mm(flat, weight.t()) if bias is None else torch.addmm(bias, flat, weight.t())
    return y.addmm_(low, b.t()), (weight, a, b, low, mask)


def _lora_gradients(
    gradient: Tensor, flat: Tensor, kept: _Kept, scale: float, of_input: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Of flat [N, I] (None where it isn't wanted), A and B, for the gradient [N, O] of y."""
    weight, a, b, low, mask = kept
    low_gradient = torch.mm(gradient, b).mul_(scale)
    b_gradient = torch.mm(gradient.t(), low).float()
    a_gradient = torch.mm(low_gradient.t(), flat if mask is None else flat * mask).float()
    if not of_input:
        return None, a_gradient, b_gradient
    x_gradient = torch.mm(gradient, weight)
    if mask is None:
        x_gradient.addmm_(low_gradient, a)
    else:
        x_gradient.addcmul_(torch.mm(low_gradient, a), mask)
    return x_gradient, a_gradient, b_gradient


class RMSNorm(torch.autograd.Function):
    """weight * x / sqrt(mean(x^2) + epsilon) over the last dimension, for a frozen weight (arXiv 1910.07467)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = x.float()
        scale = wide.square().mean(-1, keepdim=True).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return weight * (wide * scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, weight, scale = ctx.saved_tensors
        gradient, normed = (gradients[0] * weight).float(), x.float() * scale
        # The part of the gradient along x changes only its length, which the norm takes out.
        along = (gradient * normed).mean(-1, keepdim=True)
        return gradient.addcmul_(normed, along, value=-1).mul_(scale).to(x.dtype), None, None


class Gated(torch.autograd.Function):
    """silu(gate) * up, of one shape; silu is computed again in the backward pass instead of kept."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return _gated(gate, up)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        return _gated_gradients(gradients[0], *ctx.saved_tensors)


def _gated(gate: Tensor, up: Tensor) -> Tensor:
    return torch.nn.functional.silu(gate).mul_(up)


def _gated_gradients(gradient: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ops.aten.silu_backward(gradient * up, gate), torch.nn.functional.silu(gate).mul_(gradient)


def use_fast_blocks(model: torch.nn.Module) -> None:
    """Let the frozen RMS norms and the gated layers of a Llama compute this way."""
    from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

    def norm(self: LlamaRMSNorm, x: Tensor) -> Tensor:
        normed: Tensor = RMSNorm.apply(x, self.weight, self.variance_epsilon)
        return normed

    def gated(self: LlamaMLP, x: Tensor) -> Tensor:
        gate, up, down = self.gate_proj(x), self.up_proj(x), self.down_proj
        fused = hasattr(down, "dropout_pool") and not down.disable_adapters
        y: Tensor = (
            GatedLoraLinear.apply(gate, up, *_lora_arguments(down, gate)) if fused else down(Gated.apply(gate, up))
        )
        return y

    for module in model.modules():
        if type(module) is LlamaRMSNorm and not module.weight.requires_grad:
            module.__dict__["forward"] = types.MethodType(norm, module)
        if type(module) is LlamaMLP and type(module.act_fn).__name__ in ("SiLU", "SiLUActivation"):
            module.__dict__["forward"] = types.MethodType(gated, module)


def use_fast_layers(model: torch.nn.Module) -> list[DropoutPool]:
    """Let the LoRA layers of `model` on plain frozen linear layers compute this way; the pools to refresh each step.

    Layers of another kind (packed weights, DoRA) go on as PEFT has them.
    """
    from peft.tuners.lora import Linear

    pools: dict[tuple[float, torch.dtype], DropoutPool] = {}
    for module in model.modules():
        if type(module) is Linear and _is_plain(module):
            dropout = module.lora_dropout["default"]
            rate = float(getattr(dropout, "p", 0.0))
            pool = pools.setdefault((rate, module.weight.dtype), DropoutPool(rate, module.weight.dtype))
            module.__dict__["dropout_pool"] = pool
            module.__dict__["forward"] = types.MethodType(_forward, module)
    return [pool for pool in pools.values() if pool.rate]


def _is_plain(module: Any) -> bool:
    base = module.base_layer
    return (
        type(base) is torch.nn.Linear
        and base.weight.device.type == "cpu"
        and not base.weight.requires_grad
        and not module.lora_variant
        and not module.lora_bias["default"]
        and module.active_adapters == ["default"]
    )


def _forward(module: Any, x: Tensor) -> Tensor:
    x = x.to(module.base_layer.weight.dtype)
    if module.disable_adapters:  # in PEFT's `with model.disable_adapter()`
        plain: Tensor = module.base_layer(x)
        return plain
    y: Tensor = LoraLinear.apply(x, *_lora_arguments(module, x))
    return y


def _lora_arguments(module: Any, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor, Tensor, float, Tensor | None]:
    """Of a LoRA layer on x [..., I], with a mask where it drops: what LoraLinear takes after x."""
    pool, scale, mask = module.dropout_pool, module.scaling["default"], None
    if module.training and pool.rate:
        mask = pool.mask(torch.Size((x.shape[:-1].numel(), x.shape[-1])))
        scale /= 1 - pool.rate
    a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
    return module.base_layer.weight, module.base_layer.bias, a, b, scale, mask
