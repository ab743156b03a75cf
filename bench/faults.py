"""Kills, two at once, damage: what was tried, what held, what failed.

A clone runs the DAG at small numbers with a tiny model and a live teacher on loopback. Then each stage is killed again
and again (SIGKILL, at a random moment of its run) and run to its end: after a kill each out is missing or whole, and at
the end all have the bytes of the undisturbed run. Then each stage runs twice at once. bench/damage.py damages files.

Run    python -m bench.faults [--kills 10] [--stages split train] [--check]     (--check: exit code 1 if any failed)
"""

import argparse
import hashlib
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.process import BaseProcess

import yaml

from bench.damage import SmallRun, run_in_clone, try_damage
from bench.fault_records import FaultRecord
from bench.hardware import describe_hardware
from bench.warm_stages import start_stage
from tests.support.clones import Clone
from tests.support.openai_server import OpenAIServer

SEED = 1
SCRATCH = ("responses", "train", "answers", "index")
"""Of .scratch/: what a stage would go on from, so that a series of kills begins with nothing done."""
DELAY = 0.05
"""Seconds that the teacher takes for an answer."""
Outs = dict[str, str]


class Stage:
    """A stage of the clone, and its outs."""

    def __init__(self, clone: Clone, name: str) -> None:
        entry = yaml.safe_load((clone.folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"][name]
        listed = [entry.get("outs") or [], entry.get("metrics") or [], entry.get("plots") or []]
        self.paths = [next(iter(out)) if isinstance(out, dict) else out for outs in listed for out in outs]
        self.clone, self.name = clone, name
        self.undisturbed = self.read_outs()

    def start(self) -> BaseProcess:
        return start_stage(self.clone, self.name)

    def read_outs(self) -> Outs:
        """The hash of each file of the outs that is there."""
        found: Outs = {}
        for path in (self.clone.folder / out for out in self.paths):
            for file in [path] if path.is_file() else sorted(path.rglob("*")):
                if file.is_file():
                    found[str(file.relative_to(self.clone.folder))] = hashlib.sha256(file.read_bytes()).hexdigest()
        return found

    def forget(self) -> None:
        """Delete the outs, as DVC does before a stage, and what earlier runs have stored."""
        self.delete_outs()
        for name in SCRATCH:
            shutil.rmtree(self.clone.folder / ".scratch" / name, ignore_errors=True)

    def delete_outs(self) -> None:
        for path in (self.clone.folder / out for out in self.paths):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def run_to_end(self) -> float:
        """Seconds of the run, which begins with the outs deleted."""
        self.delete_outs()
        started = time.monotonic()
        self.start().join()
        return time.monotonic() - started


def try_kills(stage: Stage, kills: int) -> FaultRecord:
    """Kill `kills` runs one after another, then let one end."""
    draw = random.Random(f"{SEED}/{stage.name}")
    stage.forget()
    seconds, held = stage.run_to_end(), 0
    stage.forget()
    for _ in range(kills):
        stage.delete_outs()
        process = stage.start()
        process.join(seconds * draw.random())
        process.kill()
        process.join()
        held += stage.read_outs().items() <= stage.undisturbed.items()
    stage.run_to_end()
    held += stage.read_outs() == stage.undisturbed
    return FaultRecord(f"{stage.name}: kills", kills + 1, held, kills + 1 - held)


def try_two_at_once(stage: Stage, requests: Callable[[], Sequence[str]]) -> FaultRecord:
    """Two runs at once: both end, the outs are those of one, and nothing is asked twice."""
    stage.forget()
    before = len(requests())
    runs = [stage.start() for _ in range(2)]
    for run in runs:
        run.join()
    ended = [run.exitcode for run in runs] == [0, 0]
    asked = list(requests()[before:])
    held = ended and stage.read_outs() == stage.undisturbed and len(asked) == len(set(asked))
    return FaultRecord(f"{stage.name}: two at once", 1, int(held), int(not held))


def try_two_replays(clone: Clone) -> FaultRecord:
    """Two replays at once, of scripts with one name: each has the folder and the output of its own."""
    runs = []
    for word in ("left", "right"):
        folder = clone.folder / word
        folder.mkdir()
        (folder / "script.py").write_text(f"print('{word}')\nopen('out.txt', 'w').write('{word}')\n", encoding="utf-8")
        command = [sys.executable, "-m", "commands.replay", f"{word}/script.py"]
        runs.append(
            subprocess.Popen(command, cwd=clone.folder, env=clone.environment, stdout=subprocess.PIPE, text=True)
        )
    said = [run.communicate()[0] for run in runs]
    held = sum(f"{word}\n" in text for word, text in zip(("left", "right"), said, strict=True))
    written = sorted(path.read_text() for path in (clone.folder / ".scratch/replay").glob("script-*/cwd/out.txt"))
    if written != ["left", "right"]:
        held = 0
    return FaultRecord("replay: two at once", 2, held, 2 - held)


def try_all(run: SmallRun, teacher: OpenAIServer, names: Sequence[str], kills: int) -> Iterator[FaultRecord]:
    """Of the stages `names`; each record as soon as it is there."""
    for name in names:
        stage = Stage(run.clone, name)
        yield try_kills(stage, kills)
        yield try_two_at_once(stage, lambda: teacher.prompts)
    yield try_two_replays(run.clone)
    yield from try_damage(run, names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="of each stage")
    parser.add_argument("--stages", nargs="*", help="default: all of dvc.yaml")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    print(describe_hardware())
    records: list[FaultRecord] = []
    with run_in_clone(DELAY) as (run, teacher):
        names = given.stages or list(run.dag)
        print(f"{'fault':44}{'tried':>8}{'held':>8}{'failed':>8}", flush=True)
        for record in try_all(run, teacher, names, given.kills):
            print(f"{record.name:44}{record.tried:8}{record.held:8}{record.failed:8}", flush=True)
            records.append(record)
    tried, failed = sum(one.tried for one in records), sum(one.failed for one in records)
    print(f"faults: {tried} tried, {tried - failed} held, {failed} failed (target: none)")
    if given.check and failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
