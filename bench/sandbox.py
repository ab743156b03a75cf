"""What the sandbox adds to a script, on each level that works here: processor time and wall time.

The script does nothing, so that all of its time is Python's start; the peer is the same Python without a sandbox.

Run    python -m bench.sandbox [--check]      (--check: exit code 1 if the target is missed)
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.hardware import describe_hardware
from netllama.sandbox.levels import list_levels
from netllama.sandbox.sandbox import Sandbox, ScriptJob
from netllama.sandbox.sandbox_choice import find_problem

ROUNDS, BATCH = 7, 5
MOST_SECONDS = 0.1
"""Processor time that a level may add: 2,000 scripts in 200 s of one core."""


def measure(run: Callable[[], object]) -> tuple[float, float]:
    """(processor seconds, wall seconds) of a run with its children: medians of ROUNDS means over BATCH runs."""
    processor, wall = [], []
    for _ in range(ROUNDS):
        used, started = _count_seconds(), time.perf_counter()
        for _ in range(BATCH):
            run()
        processor.append((_count_seconds() - used) / BATCH)
        wall.append((time.perf_counter() - started) / BATCH)
    return statistics.median(processor), statistics.median(wall)


def _count_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def run_empty_script(sandbox: Sandbox) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "cwd").mkdir()
        (place / "script.py").write_text("pass\n", encoding="utf-8")
        assert sandbox.run(ScriptJob(place / "script.py", place / "cwd", place)).exit_code == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    print(describe_hardware())
    bare = measure(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    print(f"{'':12}{'processor ms':>14}{'wall ms':>10}\n{'bare':12}{bare[0] * 1000:14.1f}{bare[1] * 1000:10.1f}")
    added = []
    for level in list_levels():
        if problem := find_problem(level):
            print(f"{level.name:12}does not work here: {problem}")
            continue
        processor, wall = measure(partial(run_empty_script, Sandbox(level)))
        added.append(processor - bare[0])
        print(f"{level.name:12}{processor * 1000:14.1f}{wall * 1000:10.1f}")
    most = max(added, default=float("inf"))
    print(f"added to a script: at most {most * 1000:.0f} ms of processor time (target: {MOST_SECONDS * 1000:.0f} ms)")
    if given.check and most > MOST_SECONDS:
        sys.exit(1)


if __name__ == "__main__":
    main()
