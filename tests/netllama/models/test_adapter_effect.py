"""An adapter that changes no logit is told from one that changes a single one by little."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from netllama.core.errors import StageError
from netllama.models.adapter_effect import changes_logits, require_effect
from netllama.models.loading import load_adapter, load_base
from netllama.training.adapter import add_adapter, save_adapter
from tests.support.training_runs import loading_params, lora_params, training_record

pytestmark = pytest.mark.usefixtures("one_thread")
PROMPT = [5, 60, 7, 301, 22]
Change = Callable[[str, torch.Tensor], object]


def is_b(name: str, layer: str = "") -> bool:
    return "lora_B" in name and layer in name


def as_made(name: str, weight: torch.Tensor) -> None:
    """A fresh adapter: B is zero."""


def a_little(name: str, weight: torch.Tensor) -> None:
    if is_b(name, "layers.1.mlp.down_proj"):
        weight[3, 1] = 1e-3


def one_layer(name: str, weight: torch.Tensor) -> None:
    if is_b(name, "layers.0.self_attn.q_proj"):
        weight.fill_(0.1)


def all_layers(name: str, weight: torch.Tensor) -> None:
    if is_b(name):
        weight.fill_(0.1)


def load_changed(folder: Path, made: Path, change: Change, precision: str, **lora: Any) -> Any:
    """The adapter that `change` makes of a fresh one, as it comes back from its files, with the layers of a CPU."""
    loading = loading_params(precision)
    model, start = add_adapter(load_base(folder, loading), lora_params(**lora), 1, folder)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            change(name, weight)
    save_adapter(model, made, training_record(), start)
    return load_adapter(load_base(folder, loading), made)


@pytest.mark.parametrize("lora", [{}, {"use_dora": True}, {"target_modules": ["q_proj"]}], ids=["lora", "dora", "one"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_fresh_adapter_changes_nothing_and_is_an_error(
    tiny_model_folder: Path, tmp_path: Path, precision: str, lora: dict[str, Any]
) -> None:
    model = load_changed(tiny_model_folder, tmp_path / "adapter", as_made, precision, **lora)
    assert not changes_logits(model, PROMPT)
    with pytest.raises(StageError) as error:
        require_effect(model, [PROMPT, PROMPT[:1]], Path("models/adapter"))
    assert str(error.value) == (
        "models/adapter: changes no logit of the base model: it was trained for 0 steps, or the names of its layers "
        "are not those of this model; run `dvc repro train`"
    )


@pytest.mark.parametrize("change", [a_little, one_layer, all_layers])
def test_an_adapter_that_changes_anything_is_none(tiny_model_folder: Path, tmp_path: Path, change: Change) -> None:
    model = load_changed(tiny_model_folder, tmp_path / "adapter", change, "fp32")
    with torch.inference_mode():
        before = model(input_ids=torch.tensor([PROMPT])).logits
        require_effect(model, [PROMPT], Path("models/adapter"))
        after = model(input_ids=torch.tensor([PROMPT])).logits
    assert torch.equal(before, after), "the adapter is left as it was"


def test_one_prompt_of_several_is_enough(tiny_model_folder: Path, tmp_path: Path) -> None:
    """Token 7 is embedded as zeros, which no layer without a bias makes anything of."""
    model = load_changed(tiny_model_folder, tmp_path / "adapter", all_layers, "fp32")
    model.get_input_embeddings().weight.data[7] = 0
    assert not changes_logits(model, [7])
    require_effect(model, [[7], PROMPT], Path("models/adapter"))
