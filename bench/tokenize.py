"""The stage tokenize on synthetic records: time, growth, and the memory of all its processes together.

The stage itself, `python -m stages.tokenize`, runs with the bundled tokenizer and the project's params in a folder of
its own: nine tenths of the records are the train split, a twentieth each val and test. A record has an instruction of
8 to 40 words, a third an input of up to 150, and an output of 20 to 250, in words by their natural frequencies
(bench/text.py). Memory is the sum of the resident sets of the stage and its workers, pages they share counted in each,
every tenth of a second. Growth is that of the processors' time between the two last sizes: other work on the machine
stretches the seconds, and the start of the processes flatters the first size.

Run    python -m bench.tokenize [--full] [--check]      (--full: a million records; --check: exit code 1 where a target
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

from bench.hardware import hardware
from bench.text import Words
from netllama.core.files import canonical_json, read_json

ROOT = Path(__file__).parent.parent
NUMBERS, FULL = [10_000, 100_000], 1_000_000
SHARES = {"val": 0.05, "test": 0.05, "train": 0.9}
MOST_MEGABYTES, MOST_EXPONENT = 4_000, 1.1


def records(number: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Each text is a stretch of a million random words, so that no two begin alike."""
    draw = random.Random(seed)
    words = Words(draw).some(1_000_000)

    def text(fewest: int, most: int) -> str:
        # The shorter the likelier: the mean is a third of the way up.
        length = round(draw.triangular(fewest, most, fewest))
        start = draw.randrange(len(words) - length)
        return " ".join(words[start : start + length]).capitalize() + "."

    for row in range(number):
        yield {
            "id": f"row-{row:07d}",
            "family": f"family_{row % 5}",
            "source": "generated",
            "instruction": text(8, 40),
            "input": text(10, 150) if row % 3 == 0 else "",
            "output": text(20, 250),
        }


def prepare(folder: Path, number: int) -> int:
    """What the stage reads; the bytes of all splits."""
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / "models" / "tokenizer", folder / "models" / "tokenizer")
    splits = folder / "data" / "splits"
    splits.mkdir(parents=True)
    rows = records(number)
    for side, share in SHARES.items():
        with open(splits / f"{side}.jsonl", "w", encoding="utf-8", newline="\n") as file:
            file.writelines(canonical_json(next(rows)) + "\n" for _ in range(round(number * share)))
    return sum(path.stat().st_size for path in splits.iterdir())


def resident_megabytes(parent: int) -> float:
    """Of a process and all that it started, now; those that end meanwhile count nothing."""
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


def processor_seconds() -> float:
    """Of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_stage(folder: Path) -> tuple[float, float, float]:
    """Seconds, processor seconds, and the peak of megabytes."""
    start, processor, peak = time.perf_counter(), processor_seconds(), 0.0
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    stage = subprocess.Popen([sys.executable, "-m", "stages.tokenize"], cwd=folder, env=environment)
    try:
        while stage.poll() is None:
            peak = max(peak, resident_megabytes(stage.pid))
            time.sleep(0.1)
    finally:
        stage.terminate()
        stage.wait()
    if stage.returncode:
        raise SystemExit(f"the stage ended with exit code {stage.returncode}")
    return time.perf_counter() - start, processor_seconds() - processor, peak


def main() -> None:
    parser = argparse.ArgumentParser(description="The stage tokenize: time, growth and memory.")
    parser.add_argument("--full", action="store_true", help="up to a million records")
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    arguments = parser.parse_args()
    print(f"{hardware()}\n", flush=True)
    lines, seconds, processor, peaks = [], {}, {}, {}
    for number in [*NUMBERS, *([FULL] if arguments.full else [])]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            size = prepare(folder, number)
            seconds[number], processor[number], peaks[number] = run_stage(folder)
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
