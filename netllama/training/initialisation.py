"""What the A and B matrices start from, where they don't start at random and zero: PiSSA and LoftQ.

PiSSA (arXiv 2404.02948) trains the principal components of the weights themselves: they are moved from the base into
the adapter. The base is changed by that, so they are taken off again when the adapter is saved, as PEFT does with
`path_initial_model_for_weight_conversion`: B A - B0 A0 is a plain adapter of twice the rank on the base as it was.
LoftQ (arXiv 2310.08659, one step) starts from what quantization took from the weights; the base stays as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from netllama.core.errors import StageError

Weights = dict[str, torch.Tensor]


@dataclass
class Start:
    """The A and B that PiSSA took out of the base, by their names in the state dict; empty for all other starts."""

    moved: Weights = field(default_factory=dict)

    def taken_off(self, tensors: Weights, config: dict[str, Any]) -> tuple[Weights, dict[str, Any]]:
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
        return result, config | {"r": 2 * rank, "lora_alpha": scale * 2 * rank, "use_rslora": False}


def start_from_weights(model: Any, method: str, folder: Path) -> Start:
    """Set A and B of every LoRA layer by `method` (`default` and `gaussian`: left as they are drawn)."""
    start = Start()
    if method.startswith("pissa"):
        iterations = int(method.rpartition("_")[2]) if method.startswith("pissa_niter_") else None
        for name, layer in _fast_layers(model):
            if type(layer.base_layer) is not torch.nn.Linear:
                raise StageError(
                    "lora.init_lora_weights: pissa moves a part of the weights, which packed ones can't hold; set "
                    "loading.quantized_weights to cached, or loading.quantization to none"
                )
            weight = layer.base_layer.weight
            a, b = _factors(weight.data.float(), layer.r["default"], iterations)
            scale = layer.scaling["default"]
            _set(layer, a / scale**0.5, b / scale**0.5)
            weight.data = (weight.data.float() - b @ a).to(weight.dtype)
            start.moved |= {f"{name}.lora_A.weight": _a(layer).clone(), f"{name}.lora_B.weight": _b(layer).clone()}
    elif method == "loftq":
        original = _OriginalWeights(folder)
        for name, layer in _fast_layers(model):
            weight = _dequantized(layer.base_layer)
            lost = original[name].to(weight.device, torch.float32) - weight.float()
            if not lost.any():
                raise StageError("lora.init_lora_weights: loftq needs a quantized base, loading.quantization is none")
            a, b = _factors(lost, layer.r["default"], None)
            scale = layer.scaling["default"]
            _set(layer, a / scale**0.5, b / scale**0.5)
    return start


def _factors(matrix: torch.Tensor, rank: int, iterations: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """A [rank, I] and B [O, rank], the square root of the singular values on each, whose product is nearest to it."""
    if rank > min(matrix.shape):
        raise StageError(f"lora.r {rank}: a layer of {' x '.join(map(str, matrix.shape))} has fewer components")
    if iterations is None:
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    else:
        left, values, right = torch.svd_lowrank(matrix, q=rank, niter=iterations)
        right = right.t()
    root = values[:rank].sqrt()
    return root[:, None] * right[:rank], left[:, :rank] * root


def _fast_layers(model: Any) -> Iterator[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def _a(layer: Any) -> Any:
    return layer.lora_A["default"].weight.data


def _b(layer: Any) -> Any:
    return layer.lora_B["default"].weight.data


def _set(layer: Any, a: torch.Tensor, b: torch.Tensor) -> None:
    _a(layer).copy_(a)
    _b(layer).copy_(b)


def _dequantized(layer: Any) -> torch.Tensor:
    from peft.utils.integrations import dequantize_module_weight

    weight: torch.Tensor = dequantize_module_weight(layer).data
    return weight


class _OriginalWeights:
    """The published weights of the base's layers, read one at a time from its safetensors files."""

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        self._files: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            opened = safe_open(path, "pt")
            self._files |= dict.fromkeys(opened.keys(), opened)

    def __getitem__(self, layer: str) -> torch.Tensor:
        name = f"{layer.removeprefix('base_model.model.')}.weight"
        if name not in self._files:
            raise StageError(f"lora.init_lora_weights: loftq finds no {name} in the base's safetensors files")
        tensor: torch.Tensor = self._files[name].get_tensor(name)
        return tensor
