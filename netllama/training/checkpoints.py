"""What a killed run goes on from: the adapter, the optimizer and the curves after a step, in a file and its hash.

Everything else is a function of the step (batches, learning rate, random numbers), which is why a resumed run ends
with the bytes of an undisturbed one. The folder is named by a hash of all that decides the result: params,
inputs, code and library versions. Whatever changes there, nothing of another run is picked up.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml

from netllama.core.errors import StageError
from netllama.core.files import atomic_path, hash_file, hash_json, read_text, write_text
from netllama.core.locks import hold_lock

if TYPE_CHECKING:
    from accelerate import Accelerator

ROOT = Path(__file__).parent.parent.parent
KEPT = 2
"""Checkpoints of a run."""
_STATE, _HASH = "state.pt", "state.sha256"
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate")


Curve = list[dict[str, float]]
"""Points of a plot: `step` and a number."""


@dataclass
class TrainingState:
    """How far a run has come: everything but the weights and what the optimizer remembers."""

    step: int = 0
    """Updates done."""
    loss: Curve = field(default_factory=list)
    """Training loss; each point is the mean since the previous one."""
    val_loss: Curve = field(default_factory=list)
    learning_rate: Curve = field(default_factory=list)
    grad_norm: Curve = field(default_factory=list)
    """Norm of the gradient before clipping."""
    unlogged: list[float] = field(default_factory=list)
    """Losses of the steps since the last point of `loss`."""
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    """With early stopping: the adapter of the best validation."""


@dataclass
class Checkpoint:
    """What a run goes on from."""

    adapter: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    """State of the gradient scaler; empty if the precision needs none."""
    state: TrainingState


def read_versions() -> dict[str, str]:
    from importlib.metadata import version

    # The build (+cpu, +cu130) belongs to the machine, not to the version.
    return {name: version(name).split("+")[0] for name in LIBRARIES}


def compute_run_key(inputs: list[Path], **decisive: object) -> str:
    """A hash of the files `inputs`, of the values `decisive`, of the code that trains and of the libraries."""
    code = {path.relative_to(ROOT).as_posix(): hash_file(path) for path in _list_code()}
    files = {path.as_posix(): hash_file(path) for path in inputs}
    # The threads share sums among them in another order: another number gives other bits.
    return hash_json([files, decisive, code, read_versions(), torch.get_num_threads()])[:16]


def _list_code() -> list[Path]:
    """The code that dvc.yaml declares as deps of the stage train: there is one list of it."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    deps = [ROOT / dep for dep in stages["train"]["deps"]]
    return sorted(path for dep in deps for path in ([dep] if dep.suffix == ".py" else dep.rglob("*.py")))


class Checkpoints:
    """The newest two states of one run, in `folder`: should the last one be damaged, there is the one before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: list[Path] = []
        """What `load` has passed over."""

    def load(self) -> Checkpoint | None:
        """The last one whose bytes are those that were written, or None; tensors are on the CPU."""
        for path in self._list_saved():
            if not _is_whole(path):
                self.damaged.append(path)
                continue
            saved: dict[str, Any] = torch.load(path / _STATE, map_location="cpu", weights_only=True)
            return Checkpoint(**saved | {"state": TrainingState(**saved["state"])})
        return None

    def save(self, checkpoint: Checkpoint) -> None:
        """It is there in one step: a kill at any moment leaves the one before it or both."""
        path = self.folder / f"step-{checkpoint.state.step:08}"
        with atomic_path(path) as temporary:
            temporary.mkdir()
            try:
                torch.save(vars(checkpoint) | {"state": vars(checkpoint.state)}, temporary / _STATE)
            except RuntimeError as error:  # torch's writer of zip files keeps what the system said to itself
                raise StageError(
                    f"{path}: can't be written ({str(error).splitlines()[0]}); is the disk full?"
                ) from None
            write_text(temporary / _HASH, hash_file(temporary / _STATE))
            for name in (_STATE, _HASH):
                with open(temporary / name, "rb") as file:
                    os.fsync(file.fileno())
        # Newer ones are damaged: the run has gone on from one before them.
        for older in [saved for saved in self._list_saved() if saved.name <= path.name][KEPT:]:
            shutil.rmtree(older, ignore_errors=True)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _list_saved(self) -> list[Path]:
        """The newest first."""
        return sorted(self.folder.glob("step-*"), reverse=True)


def _is_whole(saved: Path) -> bool:
    try:
        return read_text(saved / _HASH) == hash_file(saved / _STATE)
    except (StageError, OSError):
        return False


@contextmanager
def hold_checkpoints(checkpoints: Checkpoints | None, accelerator: "Accelerator") -> Iterator[None]:
    """Keep other runs of the same key waiting, such as a queued twin: each would delete the files of the other.

    Of the processes of one run the first holds the lock, and none of them reads a checkpoint before it has it.
    """
    with ExitStack() as held:
        if checkpoints and accelerator.is_main_process:
            lock = checkpoints.folder.with_suffix(".lock")
            held.enter_context(hold_lock(lock, "trains with the same settings on the same rows"))
        accelerator.wait_for_everyone()
        yield
