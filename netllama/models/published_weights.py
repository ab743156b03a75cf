"""The weights of a model folder as they were published, read one at a time from its safetensors files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from netllama.core.errors import StageError

if TYPE_CHECKING:
    import torch


class PublishedWeights:
    """Tensors by their names.

    A file is open for one tensor at a time: while it is mapped, all that was read from it counts as memory in use,
    and in the end that is the whole model.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}
        for path in sorted(folder.glob("*.safetensors")):
            self._files |= dict.fromkeys(_open(path).keys(), path)

    def __getitem__(self, name: str) -> "torch.Tensor":
        """A copy of the tensor; StageError where the files don't have it."""
        if name not in self._files:
            raise StageError(f"{self._folder}: its safetensors files have no {name}")
        tensor: torch.Tensor = _open(self._files[name]).get_tensor(name)
        return tensor.clone()


def read_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in the folder's safetensors files, from their headers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        opened = _open(path)
        shapes |= {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    return shapes


def _open(path: Path) -> Any:
    from safetensors import safe_open

    return safe_open(path, "pt")
