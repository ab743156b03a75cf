"""What a LoRA adapter adds to each weight of its base: the saved matrices, applied in fp32.

W + s B A, where s is lora_alpha / r, or lora_alpha / sqrt(r) with rsLoRA (arXiv 2312.03732). DoRA (arXiv 2402.09353)
scales each row of that sum to its trained length. PiSSA's adapters are saved as plain ones for the base as it was
(netllama/training/initialisation.py), and LoftQ only starts elsewhere, so neither needs anything of its own here.
"""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from netllama.core.errors import StageError
from netllama.core.files import JsonObject, read_json

if TYPE_CHECKING:
    import torch

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What PEFT's names in the file begin with."""
_IRRELEVANT = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "target_modules",
    "task_type",
}
"""Keys of adapter_config.json that do not change what the saved matrices mean."""


class _AdapterConfig(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    r: int
    lora_alpha: float
    use_rslora: bool = False
    use_dora: bool = False


class AdapterUpdate:
    """The adapter in a folder. StageError where it has what a merge can't take over."""

    def __init__(self, folder: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self.folder = folder
        path = folder / CONFIG
        raw: JsonObject = read_json(path)
        try:
            config = _AdapterConfig.model_validate(raw)
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            raise StageError(f"{path}: {where}: {error.errors()[0]['msg'].lower()}; run `dvc repro train`") from None
        _require_plain_lora(raw, path)
        self.uses_dora = config.use_dora
        self._scale = config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r)
        try:
            opened: Any = safe_open(folder / WEIGHTS, "pt")
        except (FileNotFoundError, SafetensorError) as error:
            raise StageError(f"{folder / WEIGHTS}: can't be read ({error}); run `dvc repro train`") from None
        self._file = opened
        self._names: set[str] = set(opened.keys())
        self.targets = {
            f"{name.removeprefix(PREFIX).removesuffix('.lora_A.weight')}.weight"
            for name in self._names
            if name.endswith(".lora_A.weight")
        }
        """Names of the weights that it changes."""

    def require_base(self, parameters: Collection[str]) -> None:
        """StageError where the adapter changes what the base does not have, or holds what is no part of LoRA."""
        for name in sorted(self.targets.difference(parameters)):
            raise StageError(f"{self.folder / WEIGHTS}: it changes {name}, which the base does not have")
        parts = ["lora_A.weight", "lora_B.weight", *(["lora_magnitude_vector"] if self.uses_dora else [])]
        expected = {f"{PREFIX}{name.removesuffix('weight')}{part}" for name in self.targets for part in parts}
        for name in sorted(self._names ^ expected):
            fault = "unexpected" if name in self._names else "missing"
            raise StageError(f"{self.folder / WEIGHTS}: {name} is {fault}; run `dvc repro train`")

    def read(self, name: str) -> "torch.Tensor":
        """A tensor of the file, in fp32, by its name without the prefix."""
        tensor: torch.Tensor = self._file.get_tensor(PREFIX + name)
        return tensor.float()

    def apply(self, name: str, weight: "torch.Tensor") -> "torch.Tensor":
        """The merged weight [out, in] in fp32; one that is no target comes back as it is."""
        if name not in self.targets:
            return weight
        layer = name.removesuffix(".weight")
        a, b = (self.read(f"{layer}.lora_{part}.weight").to(weight.device) for part in "AB")
        if weight.shape != (b.shape[0], a.shape[1]):
            raise StageError(f"{self.folder / WEIGHTS}: {name} is transposed (GPT-2): it can't be merged")
        merged = weight.float() + self._scale * (b @ a)
        if self.uses_dora:
            length = self.read(f"{layer}.lora_magnitude_vector").to(weight.device)
            merged *= (length / merged.norm(dim=1))[:, None]
        return merged


def _require_plain_lora(raw: JsonObject, path: Path) -> None:
    if raw.get("peft_type") != "LORA":
        raise StageError(f"{path}: peft_type is {raw.get('peft_type')}; only LORA adapters can be merged")
    if raw.get("init_lora_weights", True) not in (True, False, "gaussian"):
        raise StageError(
            f"{path}: init_lora_weights {raw['init_lora_weights']} changed the base itself; save the adapter for the "
            "base as it was (PEFT: path_initial_model_for_weight_conversion)"
        )
    if raw.get("bias", "none") != "none":
        raise StageError(f"{path}: bias {raw['bias']}: trained biases can't be merged; train with none")
    known = {*_IRRELEVANT, *_AdapterConfig.model_fields, "peft_type", "init_lora_weights", "bias"}
    if unknown := sorted(key for key, value in raw.items() if value and key not in known):
        raise StageError(f"{path}: {', '.join(unknown)} can't be merged; train without")
