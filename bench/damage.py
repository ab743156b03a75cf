"""Damaged inputs of every stage: flipped bits, files cut short, empty and missing ones.

A clone runs the DAG at small numbers with a tiny model. Then one file at a time is damaged, of each input of each stage
and of what a stage keeps for itself (checkpoints, answers, index), and the stage runs alone, as DVC does not see what a
disk does. It holds where the stage ends in one line and without a traceback, or writes the bytes of the undisturbed
run. A text may also give another result: a flipped bit can make another letter of it, and only DVC has its hash.

Run    python -m bench.damage [--flips 4] [--stages split train] [--check]     (--check: exit code 1 if any failed)
"""

import argparse
import contextlib
import hashlib
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.fault_records import FaultRecord
from bench.hardware import describe_hardware
from bench.warm_stages import start_stage
from tests.support.clones import Clone
from tests.support.openai_server import Answer, OpenAIServer, new_tasks
from tests.support.small_runs import make_small_clone, run_small, with_tiny_model
from tests.support.tiny_models import make_tokenizer, write_model

SEED, FLIPS = 1, 4
CODE = ("netllama", "stages", "testbed")
SEALED = (".parquet", ".safetensors", ".pt", ".npy")
"""Endings of files whose damage never may give another result."""
CHANGED = (".scratch", "data", "metrics", "models", "results")
"""Folders that stages write to."""
KEPT = {
    "generate": "responses/responses.jsonl",
    "train": "train/*/step-*/*",
    "baseline": "answers/*.json",
    "evaluate": "answers/*.json",
    "retrieve": "index/*/**/*",
}
"""What a stage goes on from, below .scratch/: of each ending one file. DVC has no hash of it."""
MODEL = {"fetch", "train", "baseline", "evaluate"}
"""Stages that read the weights."""
Damage = Callable[[bytes, random.Random], bytes | None]


def flip_bit(content: bytes, draw: random.Random) -> bytes:
    flipped, bit = bytearray(content), draw.randrange(len(content) * 8)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def cut_short(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(1, len(content))]


def make_empty(content: bytes, draw: random.Random) -> bytes:
    return b""


def remove(content: bytes, draw: random.Random) -> None:
    return None


@dataclass(frozen=True)
class DamagedRun:
    """What a stage made of a damaged input."""

    code: int
    said: str
    """On stdout and stderr."""
    outs: dict[str, str]
    """The hash of each file that it wrote."""

    def holds(self, undisturbed: dict[str, str], sealed: bool) -> bool:
        if "Traceback" in self.said:
            return False
        if self.code:
            return self.code == 1 and self.said.strip().splitlines()[-1].startswith("error: ")
        return self.outs == undisturbed or not sealed


class SmallRun:
    """A clone in which the whole DAG has run, and the folder of its model."""

    def __init__(self, clone: Clone, model: Path) -> None:
        self.clone, self.model = clone, model
        self.dag = yaml.safe_load((clone.folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

    def list_inputs(self, stage: str) -> Iterator[Path]:
        """A file of each kind in each input."""
        deps = [self.clone.folder / dep for dep in self.dag[stage]["deps"] if not dep.startswith(CODE)]
        for place in [*deps, *([self.model] if stage in MODEL else [])]:
            files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
            read = [path for path in files if path.name != "README.md"]
            yield from {path.suffix: path for path in read}.values()
        if stage in KEPT:
            kept = sorted(path for path in (self.clone.folder / ".scratch").glob(KEPT[stage]) if path.is_file())
            yield from {path.suffix: path for path in kept}.values()

    def run(self, stage: str) -> DamagedRun:
        with tempfile.NamedTemporaryFile() as said:
            process = start_stage(self.clone, stage, Path(said.name))
            process.join()
            text = Path(said.name).read_text(encoding="utf-8", errors="replace")
        return DamagedRun(process.exitcode or 0, text, self.hash_outs(stage))

    def save(self, folder: Path) -> None:
        """Copy what a stage may change to `folder`."""
        for name in CHANGED:
            shutil.copytree(self.clone.folder / name, folder / name, symlinks=True)

    def restore(self, folder: Path) -> None:
        for name in CHANGED:
            shutil.rmtree(self.clone.folder / name)
            shutil.copytree(folder / name, self.clone.folder / name, symlinks=True)

    def hash_outs(self, stage: str) -> dict[str, str]:
        entry = self.dag[stage]
        found: dict[str, str] = {}
        for out in [*entry.get("outs", []), *entry.get("metrics", []), *entry.get("plots", [])]:
            place = self.clone.folder / (next(iter(out)) if isinstance(out, dict) else out)
            for path in [place] if place.is_file() else sorted(place.rglob("*")):
                if path.is_file():
                    found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found


def try_input(run: SmallRun, stage: str, path: Path, flips: int) -> FaultRecord:
    """Damage one file in each way; afterwards all is as it was."""
    whole, undisturbed = path.read_bytes(), run.hash_outs(stage)
    draw, held = random.Random(f"{SEED}/{stage}/{path.name}"), 0
    damages: list[Damage] = [*[flip_bit] * flips, cut_short, make_empty, remove]
    sealed = path.suffix in SEALED or ".scratch" in path.parts
    with tempfile.TemporaryDirectory() as folder:
        run.save(Path(folder))
        for damage in damages:
            content = damage(whole, draw) if whole else b"{"
            path.unlink() if content is None else path.write_bytes(content)
            # A folder of one's own has no published hash: fetch records another bit as another model.
            is_another = stage == "fetch" and damage is flip_bit
            held += run.run(stage).holds(undisturbed, sealed and not is_another)
            run.restore(Path(folder))  # the stage may have deleted the folder that the file was in
            path.write_bytes(whole)
    return FaultRecord(f"{stage}: {path.name} damaged", len(damages), held, len(damages) - held)


def stop_training(run: SmallRun) -> None:
    """Leave train's checkpoints as a killed run does: they are deleted at the end of a whole one."""
    source = "from netllama.training import checkpoints; checkpoints.Checkpoints.remove = lambda self: None; "
    command = [sys.executable, "-c", source + "import runpy; runpy.run_module('stages.train', run_name='__main__')"]
    subprocess.run(command, cwd=run.clone.folder, env=run.clone.environment, capture_output=True, check=True)


def try_damage(run: SmallRun, stages: Sequence[str], flips: int = FLIPS) -> Iterator[FaultRecord]:
    """All of it, of these stages."""
    stop_training(run)
    for stage in stages:
        for path in list(run.list_inputs(stage)):
            yield try_input(run, stage, path, flips)


@contextlib.contextmanager
def run_in_clone(delay: float = 0.0) -> Iterator[tuple[SmallRun, OpenAIServer]]:
    """A small run with a tiny model and checkpoints, and its teacher, which takes `delay` seconds for an answer."""
    with (
        tempfile.TemporaryDirectory() as folder,
        OpenAIServer(lambda asked: Answer(new_tasks(asked), delay)) as teacher,
    ):
        model = Path(folder) / "model"
        write_model(model, make_tokenizer())
        changes = {**with_tiny_model(model, teacher), "train.save_steps": 1}
        yield SmallRun(run_small(make_small_clone(Path(folder) / "clone", **changes)), model), teacher


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=FLIPS, help="bits of each file, one at a time")
    parser.add_argument("--stages", nargs="*", default=[], help="default: all of dvc.yaml")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    print(describe_hardware())
    print(f"{'damage':44}{'tried':>8}{'held':>8}{'failed':>8}")
    records = []
    with run_in_clone() as (run, _):
        for one in try_damage(run, given.stages or list(run.dag), given.flips):
            print(f"{one.name:44}{one.tried:8}{one.held:8}{one.failed:8}", flush=True)
            records.append(one)
    tried, failed = sum(one.tried for one in records), sum(one.failed for one in records)
    print(f"damage: {tried} tried, {tried - failed} held, {failed} failed (target: none)")
    if given.check and failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
