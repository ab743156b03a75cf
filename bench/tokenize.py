"""The stage tokenize on synthetic records: time, growth, and the memory of all its processes together.

The stage itself, `python -m stages.tokenize`, runs with the bundled tokenizer and the project's params in a folder of
its own. Nine tenths of the records are the train split, a twentieth each val and test. A record has an instruction of 8
to 40 words, an output of 20 to 250 and, in every third record, an input of up to 150, with natural word frequencies
(bench/synthetic_text.py). Memory is the sum of the resident sets of the stage and its workers, measured ten times a
second; shared pages count in each process. Growth compares the processor time of the two largest sizes: wall time
depends on other work on the machine, and starting the processes makes the smallest size look slow.

Run    python -m bench.tokenize [--full] [--check]      (--full: a million records; --check: exit code 1 if a target
                                                         is missed)
"""

import argparse
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.hardware import describe_hardware
from bench.synthetic_text import Words
from netllama.core.files import dump_canonical_json, read_json

ROOT = Path(__file__).parent.parent
NUMBERS, FULL = [10_000, 100_000], 1_000_000
SHARES = {"val": 0.05, "test": 0.05, "train": 0.9}
MOST_MEGABYTES, MOST_EXPONENT = 4_000, 1.1


def make_records(number: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Records whose texts are stretches of a million random words, so that no two begin alike."""
    draw = random.Random(seed)
    words = Words(draw).draw_words(1_000_000)

    def cut_text(fewest: int, most: int) -> str:
        # Short texts are likelier: the mean is a third of the way up.
        length = round(draw.triangular(fewest, most, fewest))
        start = draw.randrange(len(words) - length)
        return " ".join(words[start : start + length]).capitalize() + "."

    for row in range(number):
        yield {
            "id": f"row-{row:07d}",
            "family": f"family_{row % 5}",
            "source": "extra",
            "instruction": cut_text(8, 40),
            "input": cut_text(10, 150) if row % 3 == 0 else "",
            "output": cut_text(20, 250),
        }


def prepare_folder(folder: Path, number: int) -> int:
    """Write what the stage reads, with `number` records; returns the size of all splits in bytes."""
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / "models" / "tokenizer", folder / "models" / "tokenizer")
    splits = folder / "data" / "splits"
    splits.mkdir(parents=True)
    rows = make_records(number)
    for side, share in SHARES.items():
        with open(splits / f"{side}.jsonl", "w", encoding="utf-8", newline="\n") as file:
            file.writelines(dump_canonical_json(next(rows)) + "\n" for _ in range(round(number * share)))
    return sum(path.stat().st_size for path in splits.iterdir())


def measure_resident_megabytes(parent: int) -> float:
    """Resident memory of a process and all its descendants now; those that end meanwhile count as nothing."""
    total, queue = 0, [parent]
    while queue:
        process = Path(f"/proc/{queue.pop()}")
        try:
            total += int((process / "statm").read_text().split()[1])
            for task in (process / "task").iterdir():
                queue += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total * os.sysconf("SC_PAGE_SIZE") / 1e6


def read_processor_seconds() -> float:
    """Processor time of all children of this process that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_tokenize(folder: Path) -> tuple[float, float, float]:
    """Run the stage; returns seconds, processor seconds, and the peak memory in megabytes."""
    start, processor, peak = time.perf_counter(), read_processor_seconds(), 0.0
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    stage = subprocess.Popen([sys.executable, "-m", "stages.tokenize"], cwd=folder, env=environment)
    try:
        while stage.poll() is None:
            peak = max(peak, measure_resident_megabytes(stage.pid))
            time.sleep(0.1)
    finally:
        stage.terminate()
        stage.wait()
    if stage.returncode:
        raise SystemExit(f"stages.tokenize failed with exit code {stage.returncode}; its output above says why")
    return time.perf_counter() - start, read_processor_seconds() - processor, peak


def main() -> None:
    parser = argparse.ArgumentParser(description="The stage tokenize: time, growth and memory.")
    parser.add_argument("--full", action="store_true", help="up to a million records")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    arguments = parser.parse_args()
    print(f"{describe_hardware()}\n", flush=True)
    lines, seconds, processor, peaks = [], {}, {}, {}
    for number in [*NUMBERS, *([FULL] if arguments.full else [])]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            size = prepare_folder(folder, number)
            seconds[number], processor[number], peaks[number] = run_tokenize(folder)
            metrics = read_json(folder / "metrics" / "tokenize.json").values()
        tokens, dropped = (sum(side[key] for side in metrics) for key in ("tokens", "dropped_too_long"))
        lines.append(
            f"| {number:,} | {size / 1e6:,.0f} | {tokens:,} | {dropped:,} | {seconds[number]:.1f} "
            f"| {processor[number]:.1f} | {number / seconds[number]:,.0f} | {tokens / seconds[number]:,.0f} "
            f"| {peaks[number]:,.0f} |"
        )
    print("\n| records | MB of JSONL | tokens | dropped | seconds | processor s | records/s | tokens/s | peak MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(lines))
    *_, before, most = sorted(seconds)
    exponent = math.log(processor[most] / processor[before]) / math.log(most / before)
    print(
        f"\ntokenize, {most:,} records: {seconds[most]:,.0f} s, {processor[most]:,.0f} s of the processors "
        f"({most / processor[most]:,.0f} records a second and core), growth n^{exponent:.2f} from {before:,}, "
        f"{peaks[most]:,.0f} MB in all processes"
    )
    if arguments.check and not (max(peaks.values()) < MOST_MEGABYTES and exponent <= MOST_EXPONENT):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
