"""LoRA layers that a CPU computes fast: the same sums in fewer passes over memory.

PEFT's layer casts, drops, scales and adds as operations of their own. Here a layer is one autograd function of three
matrix products forward and five backward (the frozen weight gets no gradient). Layers that read the same input, such as
those of queries, keys and values, are one function too: its input is dropped once, by one mask for all of them.
"""

import types
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from netllama.cpu_layers.dropout_pool import DropoutPool


class Layer(NamedTuple):
    """W [O, I], its bias [O], A [R, I], B [O, R], and what the low-rank product is multiplied by."""

    weight: Tensor
    bias: Tensor | None
    a: Tensor
    b: Tensor
    scale: float


FIELDS = len(Layer._fields)


class Kept(NamedTuple):
    """What the gradients of a layer need besides its input: W, A and B in W's precision, scale A x [N, R], scale."""

    weight: Tensor
    a: Tensor
    b: Tensor
    low: Tensor
    scale: float


class LoraLinear(torch.autograd.Function):
    """y_i = x W_i^T + bias_i + scale_i (mask * x) A_i^T B_i^T of each layer i, for frozen W and bias, A and B in fp32.

    x [..., I], the mask [N, I] and y_i [..., O_i] are in W's precision, the gradients of A and B in fp32. `scale` holds
    1 / (1 - rate). The fields of each Layer follow each other in `layers`; one layer gives y itself, several a tuple.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor | None, *layers: Any) -> Tensor | tuple[Tensor, ...]:
        results, kept = compute_layers(to_rows(x), mask, group_fields(layers))
        save_kept(ctx, kept, x, mask)
        shaped = tuple(y.view(*x.shape[:-1], -1) for y in results)
        return shaped[0] if len(shaped) == 1 else shaped

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x, mask), kept = load_kept(ctx, 2)
        slopes = [to_rows(each) for each in gradients]
        of_x, of_layers = compute_gradients(slopes, to_rows(x), mask, kept, ctx.needs_input_grad[0])
        return None if of_x is None else of_x.view(x.shape), None, *of_layers


def to_rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def group_fields(fields: Sequence[Any]) -> list[Layer]:
    return [Layer(*fields[start : start + FIELDS]) for start in range(0, len(fields), FIELDS)]


def save_kept(ctx: Any, kept: Sequence[Kept], *others: Tensor | None) -> None:
    """For `load_kept` in the backward pass."""
    ctx.save_for_backward(*others, *(tensor for each in kept for tensor in each[:-1]))
    ctx.scales = [each.scale for each in kept]


def load_kept(ctx: Any, others: int) -> tuple[tuple[Any, ...], list[Kept]]:
    """The `others` first tensors, and what was kept of each layer."""
    # Read once: a checkpointed layer, which is computed again for that, has them no second time.
    tensors = ctx.saved_tensors
    rest = iter(tensors[others:])
    return tensors[:others], [Kept(next(rest), next(rest), next(rest), next(rest), scale) for scale in ctx.scales]


def compute_layers(flat: Tensor, mask: Tensor | None, layers: Sequence[Layer]) -> tuple[list[Tensor], list[Kept]]:
    """y [N, O] of flat [N, I] for each layer, and what its gradients need."""
    dropped = flat if mask is None else flat * mask
    results, kept = [], []
    for weight, bias, a, b, scale in layers:
        a, b = a.to(weight.dtype), b.to(weight.dtype)
        # The scale goes into what is narrow: [N, R] instead of [N, O], and in the backward pass instead of A and B.
        low = torch.mm(dropped, a.t()).mul_(scale)
        y = torch.mm(flat, weight.t()) if bias is None else torch.addmm(bias, flat, weight.t())
        results.append(y.addmm_(low, b.t()))
        kept.append(Kept(weight, a, b, low, scale))
    return results, kept


def compute_gradients(
    gradients: Sequence[Tensor], flat: Tensor, mask: Tensor | None, layers: Sequence[Kept], of_input: bool
) -> tuple[Tensor | None, list[Tensor | None]]:
    """Of flat [N, I] (None where it isn't wanted), and of each field of each layer."""
    dropped = flat if mask is None else flat * mask
    of_x, of_dropped, of_layers = None, None, []
    for gradient, (weight, a, b, low, scale) in zip(gradients, layers, strict=True):
        of_low = torch.mm(gradient, b).mul_(scale)
        of_layers += [None, None, torch.mm(of_low.t(), dropped).float(), torch.mm(gradient.t(), low).float(), None]
        if of_input:
            of_x = torch.mm(gradient, weight) if of_x is None else of_x.addmm_(gradient, weight)
            of_dropped = torch.mm(of_low, a) if of_dropped is None else of_dropped.addmm_(of_low, a)
    if of_x is not None and of_dropped is not None:
        of_x = of_x.add_(of_dropped) if mask is None else of_x.addcmul_(of_dropped, mask)
    return of_x, of_layers


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
    return apply_together([module], x)[0]


def apply_together(modules: Sequence[Any], x: Tensor) -> tuple[Tensor, ...]:
    """What each of `modules` makes of x [..., I]: in one function where they are fast LoRA layers that drop alike."""
    pools = {id(getattr(module, "dropout_pool", None)) for module in modules}
    if len(pools) > 1 or not hasattr(modules[0], "dropout_pool"):
        return tuple(module(x) for module in modules)
    x = x.to(modules[0].base_layer.weight.dtype)
    if modules[0].disable_adapters:  # in PEFT's `with model.disable_adapter()`
        return tuple(module.base_layer(x) for module in modules)
    made: Any = LoraLinear.apply(x, draw_mask(modules[0], x), *(field for each in modules for field in read(each)))
    return (made,) if isinstance(made, Tensor) else made


def draw_mask(module: Any, x: Tensor) -> Tensor | None:
    """For a fast LoRA layer on x [..., I]: [N, I], where it drops."""
    pool = module.dropout_pool
    if not (module.training and pool.rate):
        return None
    mask: Tensor = pool.mask(torch.Size((x.shape[:-1].numel(), x.shape[-1])))
    return mask


def read(module: Any) -> Layer:
    """The weights of a fast LoRA layer; the scale makes up for what is dropped."""
    pool, scale = module.dropout_pool, module.scaling["default"]
    if module.training and pool.rate:
        scale /= 1 - pool.rate
    a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
    return Layer(module.base_layer.weight, module.base_layer.bias, a, b, scale)
