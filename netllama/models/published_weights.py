"""The weights of a model folder as they were published, read one at a time from its safetensors files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from netllama.core.errors import StageError

if TYPE_CHECKING:
    import torch


class PublishedWeights:
    """Tensors by their names; the files are mapped, so that only what is read takes memory."""

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        self._folder = folder
        self._files: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            opened: Any = safe_open(path, "pt")
            self._files |= dict.fromkeys(opened.keys(), opened)

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def __getitem__(self, name: str) -> "torch.Tensor":
        if name not in self._files:
            raise StageError(f"{self._folder}: its safetensors files have no {name}")
        tensor: torch.Tensor = self._files[name].get_tensor(name)
        return tensor
