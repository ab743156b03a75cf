"""The filter `runs` on 2,000 distinct scripts: how long it takes to judge them, and what one run costs.

The scripts are those of the seed tasks and code questions, and planted faults of 30 kinds, 70 to 30, each made distinct
by a comment. The peer is the same run in a sandbox of its own, where Python and its libraries are imported every time.

Run    python -m bench.runs_filter [--check]      (--check: exit code 1 if the target is missed)
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

from bench.hardware import describe_hardware
from netllama.code_checks.code_runner import LIBRARIES, CodeRunner, Script, run_one
from netllama.code_checks.run_store import RunStore
from netllama.core.cores import count_cores
from netllama.core.files import ensure_scratch_folder
from netllama.sandbox.sandbox import Sandbox
from netllama.sandbox.sandbox_choice import find_sandbox
from netllama.sandbox.warm_sandbox import WarmSandbox
from testbed.network import ensure_network
from tests.support.planted_faults import SCRIPTS, list_faulty, list_right

ROWS, FAULTY = 2000, 0.3
MOST_MINUTES = 10.0
"""On two cores."""


def make_scripts(rows: int) -> list[Script]:
    """`rows` distinct scripts, right and faulty ones mixed."""
    kinds = {True: [row.code for row in list_faulty()], False: [row.code for row in list_right(140)]}
    scripts = []
    for number in range(rows):
        faulty = int((number + 1) * FAULTY) > int(number * FAULTY)
        codes = kinds[faulty]
        place = int(number * FAULTY) if faulty else number - int(number * FAULTY)
        scripts.append(Script(f"{codes[place % len(codes)]}\n# {number}\n"))
    return scripts


def measure_one(sandbox: Sandbox, network: Path) -> list[float]:
    """Processor seconds of one run of each of SCRIPTS, with its children."""
    used = []
    for number, code in enumerate(SCRIPTS.values()):
        before = _count_seconds()
        assert run_one(str(number), Script(code), network, sandbox).holds
        used.append(_count_seconds() - before)
    return used


def _count_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    print(describe_hardware())
    network, level = ensure_network(ensure_scratch_folder("network"), 1), find_sandbox().level
    cold = measure_one(Sandbox(level), network)
    with WarmSandbox(level, LIBRARIES) as warm:
        seconds = []
        for code in SCRIPTS.values():
            started = time.perf_counter()
            run_one("", Script(code), network, warm)
            seconds.append(time.perf_counter() - started)
    print(f"{'one script of':24}{'cold, processor s':>20}{'warm, wall s':>16}")
    for name, one, other in zip(SCRIPTS, cold, seconds, strict=True):
        print(f"{name:24}{one:20.2f}{other:16.2f}")
    scripts = make_scripts(given.rows)
    with tempfile.TemporaryDirectory() as folder:
        runner, started, used = CodeRunner(RunStore(Path(folder))), time.perf_counter(), _count_seconds()
        runs = runner.run_all(scripts)
        minutes = (time.perf_counter() - started) / 60
        runner.close()
        used = (_count_seconds() - used) / given.rows
    rejected = sum(not run.holds for run in runs)
    print(
        f"runs filter: {given.rows:,} distinct scripts judged in {minutes:.1f} minutes on {count_cores()} cores, "
        f"{used:.2f} s of processor time each, {rejected:,} rejected (target: 2,000 in {MOST_MINUTES:.0f} minutes on 2)"
    )
    if given.check and minutes * count_cores() / 2 > MOST_MINUTES * given.rows / ROWS:
        sys.exit(1)


if __name__ == "__main__":
    main()
