"""The tiny model with LoRA on all its linear layers, and the gradients of these, for tests to compare."""

from pathlib import Path
from typing import Any

import torch

from netllama.core.tokenized_rows import TokenizedRow


def adapted(folder: Path, **lora: Any) -> Any:
    """The model in `folder` in fp32, its lora_B drawn at random; the same weights at each call."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(0)
    defaults = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM", "init_lora_weights": False}
    return get_peft_model(base, LoraConfig(**defaults | lora))


def lora_gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}


def gradients_of(model: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of `loss`, alone."""
    model.zero_grad()
    loss.backward()
    return lora_gradients(model)


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient.norm() > 0, name
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


def full_logits_loss(model: Any, rows: list[TokenizedRow]) -> torch.Tensor:
    """Hugging Face's loss with the labels in place, on rows padded and masked here, independently of `collate_rows`."""
    width = max(len(row.input_ids) for row in rows)
    padding = [width - len(row.input_ids) for row in rows]
    ids = torch.tensor([row.input_ids + [7] * pad for row, pad in zip(rows, padding, strict=True)])
    mask = torch.tensor([[1] * (width - pad) + [0] * pad for pad in padding])
    labels = [[-100] * row.loss_start + row.input_ids[row.loss_start :] for row in rows]
    padded = torch.tensor([own + [-100] * pad for own, pad in zip(labels, padding, strict=True)])
    loss: torch.Tensor = model(input_ids=ids, attention_mask=mask, labels=padded).loss
    return loss


def results(y: torch.Tensor, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """y, and the gradients of `inputs` for an upstream gradient that is the same at each call."""
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, inputs, upstream)]


def assert_near(found: list[torch.Tensor], expected: list[torch.Tensor], share: float) -> None:
    """No entry further off than `share` of the largest entry."""
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert (one.double() - other.double()).abs().max() <= share * other.abs().max()
