"""What the A and B matrices start from, where they don't start at random and zero: PiSSA and LoftQ.

PiSSA (arXiv 2404.02948) trains the principal components of the weights themselves: PEFT moves them from the base into
the adapter. The base is changed by that, so they are taken off again when the adapter is saved, as PEFT does with
`path_initial_model_for_weight_conversion`: B A - B0 A0 is a plain adapter of twice the rank on the base as it was.
LoftQ (arXiv 2310.08659, one step) starts from what quantization took from the weights; the base stays as it is. PEFT's
own reads packed 4-bit layers only; this one takes int8 and dequantized layers as well.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from netllama.core.errors import StageError
from netllama.core.sections import LoraParams
from netllama.models.published_weights import PublishedWeights

if TYPE_CHECKING:
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Start:
    """The A and B that PiSSA took out of the base, by their names in the state dict; empty for all other starts."""

    moved: Weights = field(default_factory=dict)

    @classmethod
    def record(cls, model: "PeftModel") -> "Start":
        """The A and B that `model` has now."""
        moved = {}
        for name, layer in _list_lora_layers(model):
            moved[f"{name}.lora_A.weight"] = _a(layer).cpu().clone()
            moved[f"{name}.lora_B.weight"] = _b(layer).cpu().clone()
        return cls(moved)

    def convert_to_plain(self, tensors: Weights, config: dict[str, Any]) -> tuple[Weights, dict[str, Any]]:
        """The adapter's weights and PEFT configuration, for the base as it was before: [A; A0] and [B, -B0]."""
        if not self.moved:
            return tensors, config
        result = {}
        for name, tensor in tensors.items():
            first = self.moved[name]
            is_a = ".lora_A." in name
            result[name] = torch.cat([tensor.cpu(), first if is_a else -first], dim=0 if is_a else 1)
        rank = config["r"]
        scale = config["lora_alpha"] / (rank**0.5 if config["use_rslora"] else rank)
        plain = {"r": 2 * rank, "lora_alpha": scale * 2 * rank, "use_rslora": False, "init_lora_weights": True}
        return result, config | plain


def require_start(layers: Iterable[torch.nn.Module], lora: LoraParams) -> None:
    """StageError where the adapters of these layers can't start as `lora.init_lora_weights` says."""
    method = lora.init_lora_weights
    if method in ("default", "gaussian"):
        return
    for layer in layers:
        if not isinstance(layer, torch.nn.Linear):
            kind = type(layer).__name__
            raise StageError(f"lora.init_lora_weights: {method} is not possible with {kind} layers; use default")
        if method.startswith("pissa") and type(layer) is not torch.nn.Linear:
            raise StageError(
                "lora.init_lora_weights: pissa moves a part of the weights, which packed ones can't hold; set "
                "loading.quantized_weights to cached, or loading.quantization to none"
            )
        shape = (layer.out_features, layer.in_features)
        if lora.r > min(shape):
            raise StageError(f"lora.r {lora.r}: a layer of {shape[0]} x {shape[1]} has fewer components")


def set_to_quantization_error(model: "PeftModel", folder: Path) -> None:
    """LoftQ: let B A of every LoRA layer be the best approximation of what quantization took from its weights.

    The published weights are read from the base's `folder`.
    """
    published = PublishedWeights(folder)
    for name, layer in _list_lora_layers(model):
        weight = _dequantize(layer.base_layer)
        original = published[f"{name.removeprefix('base_model.model.')}.weight"]
        if original.shape != weight.shape:
            raise StageError(
                "lora.init_lora_weights: loftq is not possible with transposed layers (GPT-2); use default"
            )
        lost = original.to(weight.device, torch.float32) - weight.float()
        if not lost.any():
            raise StageError("lora.init_lora_weights: loftq needs a quantized base, loading.quantization is none")
        left, values, right = torch.linalg.svd(lost, full_matrices=False)
        rank = layer.r["default"]
        root = (values[:rank] / layer.scaling["default"]).sqrt()
        _a(layer).copy_(root[:, None] * right[:rank])
        _b(layer).copy_(left[:, :rank] * root)


def _list_lora_layers(model: "PeftModel") -> Iterator[tuple[str, "LoraLayer"]]:
    from peft.tuners.lora import LoraLayer

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def _a(layer: "LoraLayer") -> torch.Tensor:
    return layer.lora_A["default"].get_parameter("weight").data


def _b(layer: "LoraLayer") -> torch.Tensor:
    return layer.lora_B["default"].get_parameter("weight").data


def _dequantize(layer: torch.nn.Module) -> torch.Tensor:
    from peft.utils.integrations import dequantize_module_weight

    weight: torch.Tensor = dequantize_module_weight(layer).data
    return weight
