"""What a killed run goes on from: the adapter, the optimizer and the curves after a step, in one file.

Everything else is a function of the step (batches, learning rate, random numbers), which is why a resumed run ends
with the bytes of an undisturbed one. The folder is named by a hash of all that decides the result: params,
inputs, code and library versions. Whatever changes there, nothing of another run is picked up.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml

from netllama.core.files import atomic_path, sha256_file, sha256_json

ROOT = Path(__file__).parent.parent.parent
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate")


def versions() -> dict[str, str]:
    from importlib.metadata import version

    # The build (+cpu, +cu130) belongs to the machine, not to the version.
    return {name: version(name).split("+")[0] for name in LIBRARIES}


def run_key(inputs: list[Path], **decisive: Any) -> str:
    """A hash of the files `inputs`, of the values `decisive`, of the code that trains and of the libraries."""
    code = {path.relative_to(ROOT).as_posix(): sha256_file(path) for path in _code()}
    files = {path.as_posix(): sha256_file(path) for path in inputs}
    # The threads share sums among them in another order: another number gives other bits.
    return sha256_json([files, decisive, code, versions(), torch.get_num_threads()])[:16]


def _code() -> list[Path]:
    """The code that dvc.yaml declares as deps of the stage train: there is one list of it."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    deps = [ROOT / dep for dep in stages["train"]["deps"]]
    return sorted(path for dep in deps for path in ([dep] if dep.suffix == ".py" else dep.rglob("*.py")))


class Checkpoints:
    """The newest state of one run, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "state.pt"

    def load(self) -> dict[str, Any] | None:
        """The last complete state, or None; tensors are on the CPU."""
        if not self.path.is_file():
            return None
        state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replaces the state before it in one step: a kill at any moment leaves the old one or the new one."""
        with atomic_path(self.path) as temporary:
            torch.save(state, temporary)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
