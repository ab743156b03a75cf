"""Processes that do something at the same moment, for tests of what they share."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.clones import ROOT

# They are forked from a process of one thread that has done the imports, so that they start within milliseconds.
RACE = """
import json, multiprocessing, sys

def race_one(work):
    start.wait()
    exec(work, globals())

setup, *works = json.loads(sys.stdin.read())
exec(setup, globals())
fork = multiprocessing.get_context("fork")
start = fork.Barrier(len(works))
processes = [fork.Process(target=race_one, args=(work,)) for work in works]
for process in processes:
    process.start()
for process in processes:
    process.join()
sys.exit(any(process.exitcode for process in processes))
"""


def race(folder: Path, setup: str, *works: str) -> str:
    """Run `setup` once and then each of `works`, all at once, in a process of its own and in `folder`.

    Returns what they printed. An exception in one of them fails the test.
    """
    done = subprocess.run(
        [sys.executable, "-c", RACE],
        input=json.dumps([setup, *works]),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
