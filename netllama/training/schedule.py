"""The optimizer of the adapter, and the learning rate of each step."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch

from netllama.core.sections import TrainParams


def build_optimizer(weights: Iterable[tuple[str, torch.nn.Parameter]], train: TrainParams) -> torch.optim.Optimizer:
    """`train.optim` over the named trainable weights; with LoRA+ the B matrices are a group of a higher rate.

    Each group has `ratio`: its learning rate is `compute_learning_rate(step) * ratio`.
    """
    named = [(name, weight) for name, weight in weights if weight.requires_grad]
    faster = [weight for name, weight in named if train.loraplus_lr_ratio > 1 and "lora_B" in name]
    known = {id(weight) for weight in faster}
    groups = [
        {"params": [weight for _, weight in named if id(weight) not in known], "ratio": 1.0},
        {"params": faster, "ratio": train.loraplus_lr_ratio},
    ]
    make = _find_optimizer(train.optim)
    return make([group for group in groups if group["params"]], lr=train.learning_rate, weight_decay=train.weight_decay)


def _find_optimizer(name: str) -> Callable[..., torch.optim.Optimizer]:
    if name.startswith("adamw_torch"):
        return partial(torch.optim.AdamW, fused=name.endswith("fused"))
    import bitsandbytes as bnb

    paged: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "paged_adamw_32bit": bnb.optim.PagedAdamW32bit,
        "paged_adamw_8bit": bnb.optim.PagedAdamW8bit,
    }
    return paged[name]


def compute_learning_rate(step: int, train: TrainParams) -> float:
    """The rate of the update after which `step` (from 1) steps are done: transformers' schedules, of the same names."""
    done, warmup = step - 1, math.ceil(train.max_steps * train.warmup_ratio)
    if train.lr_scheduler_type == "constant":
        return float(train.learning_rate)
    if done < warmup:
        return float(train.learning_rate * done / warmup)
    left = max(1, train.max_steps - warmup)
    factor = {
        "constant_with_warmup": 1.0,
        "linear": (train.max_steps - done) / left,
        "cosine": 0.5 * (1 + math.cos(math.pi * (done - warmup) / left)),
    }[train.lr_scheduler_type]
    return float(train.learning_rate * factor)


def keep_paged(optimizer: torch.optim.Optimizer) -> None:
    """After a state was loaded: the large tensors of a paged optimizer are ordinary ones then, and go back to pages."""
    if not getattr(optimizer, "is_paged", False) or not torch.cuda.is_available():
        return
    paged: Any = optimizer
    for weight, state in optimizer.state.items():
        for name in ("state1", "state2"):
            if name in state and state[name].shape == weight.shape:
                buffer = paged.get_state_buffer(weight, dtype=state[name].dtype)
                state[name] = buffer.copy_(state[name])
