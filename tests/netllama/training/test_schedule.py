"""Learning rates against transformers' own schedules, and the optimizers' groups."""

import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from netllama.core.sections import TrainParams
from netllama.training.schedule import build_optimizer, compute_learning_rate
from tests.support.training_runs import train_params

OPTIMIZERS = ["adamw_torch_fused", "adamw_torch", "paged_adamw_32bit", "paged_adamw_8bit"]


def params(**changes: Any) -> TrainParams:
    """50 steps with an early rise, and `changes`."""
    defaults = {"max_steps": 50, "warmup_ratio": 0.05, "learning_rate": 5e-4, "lr_scheduler_type": "cosine"}
    return train_params(**defaults | {"optim": "adamw_torch"} | changes)


@given(
    name=st.sampled_from(["cosine", "linear", "constant", "constant_with_warmup"]),
    max_steps=st.integers(1, 120),
    warmup_ratio=st.one_of(st.sampled_from([0.0, 0.03, 0.05, 0.1, 0.5]), st.floats(0, 1, exclude_max=True)),
    rate=st.sampled_from([2e-4, 1.0]),
)
def test_the_rate_of_each_step_is_that_of_transformers(
    name: str, max_steps: int, warmup_ratio: float, rate: float
) -> None:
    from transformers import get_scheduler

    warmup = math.ceil(max_steps * warmup_ratio)  # TrainingArguments.get_warmup_steps
    assume(name == "constant" or warmup < max_steps)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = get_scheduler(name, optimizer, warmup, max_steps)
    train = params(lr_scheduler_type=name, max_steps=max_steps, warmup_ratio=warmup_ratio, learning_rate=rate)
    for step in range(1, max_steps + 1):
        assert compute_learning_rate(step, train) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12, abs=1e-15)
        optimizer.step()
        scheduler.step()


def named_weights() -> list[tuple[str, torch.nn.Parameter]]:
    """Of two adapters, and a frozen weight. bitsandbytes keeps 8-bit states from 4,096 entries on."""
    weights = [
        (f"layers.{layer}.q_proj.{name}.default.weight", torch.nn.Parameter(torch.ones(64, 64)))
        for layer in range(2)
        for name in ("lora_A", "lora_B")
    ]
    return [*weights, ("layers.0.q_proj.base_layer.weight", torch.nn.Parameter(torch.ones(3), requires_grad=False))]


@pytest.mark.parametrize("optim", OPTIMIZERS)
def test_with_lora_plus_the_b_matrices_alone_are_faster(optim: str) -> None:
    named = named_weights()
    slow, fast = build_optimizer(named, params(optim=optim, loraplus_lr_ratio=16.0)).param_groups
    names = {id(weight): name for name, weight in named}
    assert [names[id(weight)] for weight in slow["params"]] == [name for name, _ in named if "lora_A" in name]
    assert [names[id(weight)] for weight in fast["params"]] == [name for name, _ in named if "lora_B" in name]
    assert (slow["ratio"], fast["ratio"]) == (1.0, 16.0)


@pytest.mark.parametrize("optim", OPTIMIZERS)
def test_without_lora_plus_all_trained_weights_are_one_group(optim: str) -> None:
    named = named_weights()
    (group,) = build_optimizer(named, params(optim=optim)).param_groups
    assert [id(weight) for weight in group["params"]] == [id(weight) for _, weight in named[:4]]
    assert group["ratio"] == 1.0


@pytest.mark.parametrize("ratio", [1.0, 16.0])
@pytest.mark.parametrize("optim", OPTIMIZERS)
def test_each_optimizer_is_the_one_asked_for_and_decays_weights(optim: str, ratio: float) -> None:
    optimizer = build_optimizer(named_weights(), params(optim=optim, weight_decay=0.1, loraplus_lr_ratio=ratio))
    expected = {
        "adamw_torch_fused": ("AdamW", True),
        "adamw_torch": ("AdamW", False),
        "paged_adamw_32bit": ("PagedAdamW32bit", None),
        "paged_adamw_8bit": ("PagedAdamW8bit", None),
    }
    assert (type(optimizer).__name__, optimizer.defaults.get("fused")) == expected[optim]
    for group in optimizer.param_groups:
        assert group["weight_decay"] == 0.1
        assert group["lr"] == 5e-4


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
@pytest.mark.parametrize("optim", OPTIMIZERS)
def test_a_step_without_gradients_is_the_decay_alone(optim: str) -> None:
    """Decoupled (arXiv 1711.05101): w (1 - rate * decay), whatever the gradients' moments."""
    named = named_weights()
    optimizer = build_optimizer(named, params(optim=optim, weight_decay=0.1, learning_rate=0.5))
    for _, weight in named[:4]:
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for _, weight in named[:4]:
        torch.testing.assert_close(weight.data, torch.full_like(weight, 1 - 0.5 * 0.1))
    assert torch.equal(named[4][1], torch.ones(3))
