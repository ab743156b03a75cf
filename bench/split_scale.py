"""The stage split on synthetic pools of up to a million rows: time, growth, memory, and what MinHash misses.

The stage itself, `python -m stages.split`, runs with the project's params, seeds and questions in a folder of its own,
and reads the pool (bench/synthetic_pool.py) as a file of one's own. Growth compares the processor time of the smallest
and the largest size: wall time depends on other work on the machine. Recall is measured on a pool of its own: all near
pairs by NoveltyIndex, which finds every one of them, and by MinHash; then the groups and sides that follow from both.

Run    python -m bench.split_scale [--rows N ...] [--recall N] [--check]
       --rows: sizes of the pool, above 50,000; --recall 0: without that part; --check: exit code 1 if a target is
       missed
"""

import argparse
import contextlib
import itertools
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import yaml

from bench.hardware import describe_hardware
from bench.synthetic_pool import make_pool
from netllama.contamination.common_text import CommonText
from netllama.core.files import dump_canonical_json
from netllama.core.metrics import read_details
from netllama.core.params import parse_yaml
from netllama.novelty.distinct_texts import DistinctTexts
from netllama.novelty.minhash import UNITS
from netllama.novelty.near_pairs import NearPairs, PairSearch, Wanted, hash_texts, join_pairs
from netllama.novelty.novelty_index import NoveltyIndex
from netllama.novelty.rouge import TOLERANCE
from netllama.splitting.groups import Assignment, assign_sides, set_ranges
from netllama.splitting.neighbours import PairedRows
from netllama.splitting.pool_rows import PoolRow

ROOT = Path(__file__).parent.parent
ROWS, RECALL = [100_000, 300_000, 1_000_000], 50_000
THRESHOLD = 0.7
MOST_MINUTES, MOST_MEGABYTES, MOST_EXPONENT, LEAST_RECALL = 30, 6_000, 1.15, 0.999


class StageRun(NamedTuple):
    """What a run of the stage took."""

    seconds: float
    processor: float
    """Seconds of processor time, in all threads."""
    megabytes: float
    """The peak of all its processes together, looked at once a second."""


def prepare_folder(folder: Path, number: int) -> None:
    """Write what the stage reads, with `number` synthetic rows."""
    for name in ("seeds", "questions"):
        shutil.copytree(ROOT / "data" / name, folder / "data" / name)
    params = parse_yaml(ROOT / "params.yaml")
    params["split"] |= {"extra": ["pool.jsonl"], "near_duplicate_threshold": THRESHOLD}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    for name in ("generated", "extra"):
        (folder / "data" / name).mkdir()
    (folder / "data" / "generated" / "instructions.jsonl").touch()
    with open(folder / "data" / "extra" / "pool.jsonl", "w", encoding="utf-8") as file:
        for row in make_pool(number):
            fields = {"instruction": row.instruction, "input": row.input, "output": row.output, "family": row.family}
            file.write(dump_canonical_json(fields) + "\n")


def run_split(folder: Path) -> StageRun:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DVC_ROOT": str(folder)}
    start = time.perf_counter()
    with open(folder / "log", "w", encoding="utf-8") as log:
        stage = subprocess.Popen(
            [sys.executable, "-m", "stages.split"], cwd=folder, env=environment, stdout=log, stderr=log
        )
        megabytes = 0.0
        while not (ended := os.wait4(stage.pid, os.WNOHANG))[0]:
            megabytes = max(megabytes, measure_memory(psutil.Process(stage.pid)))
            time.sleep(1)
        _, status, usage = ended
    if status:
        raise SystemExit(f"stages.split failed: {(folder / 'log').read_text(encoding='utf-8')[-2000:]}")
    return StageRun(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, megabytes)


def measure_memory(stage: psutil.Process) -> float:
    """Megabytes of a process and its workers; what they share counts once."""
    total = 0
    for process in (stage, *stage.children(recursive=True)):
        with contextlib.suppress(psutil.Error):  # it has ended
            total += process.memory_full_info().pss
    return total / 2**20


def find_all_pairs(texts: list[list[str]]) -> NearPairs:
    """By the index, which compares each text with all earlier ones."""
    index = NoveltyIndex()
    found: list[tuple[int, int, float]] = []
    for second, tokens in enumerate(texts):
        text = " ".join(tokens)
        found += [(first, second, score) for first, score in index.find_matches(text, THRESHOLD - TOLERANCE)]
        index.add("", text)
    return NearPairs(*map(np.array, zip(*sorted(found), strict=True)))


def measure_recall(number: int) -> bool:
    """Print what MinHash finds of the near pairs of a pool, and compare groups; whether it is as much as promised."""
    rows = list(map(PoolRow, make_pool(number)))
    tasks = [row.task for row in rows]
    common, numbered = CommonText(tasks, 13), DistinctTexts()
    texts = list(numbered.number_texts(map(common.state_own, tasks)))
    start = time.process_time()
    exact = find_all_pairs(texts)
    between = time.process_time()
    search = PairSearch(hash_texts(texts), Wanted(THRESHOLD))
    hashed = join_pairs([search.find(unit) for unit in range(UNITS)])
    end = time.process_time()

    def assign(pairs: NearPairs) -> Assignment:
        return assign_sides(rows, common, PairedRows(numbered, pairs), set_ranges(tasks, 0.1, 0.15, 42), 42)

    found, known = (set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) for pairs in (hashed, exact))
    edges = [THRESHOLD, 0.72, 0.75, 0.8, 0.9, 1.01]
    print(f"\n| ROUGE-L F1 | near pairs of {number:,} rows | found |\n|---|---|---|")
    for low, high in itertools.pairwise(edges):
        band = [pair for *pair, score in zip(*exact, strict=True) if low - TOLERANCE <= score < high - TOLERANCE]
        print(f"| {low:.2f} to {min(high, 1):.2f} | {len(band):,} | {sum(tuple(pair) in found for pair in band):,} |")
    one, other = assign(exact), assign(hashed)
    groups, same = ({frozenset(group) for group in each.groups.values() if len(group) > 1} for each in (one, other))
    recall = len(found & known) / len(known)
    is_same = one == other
    print(
        f"\nrecall of pairs {recall:.5f} ({len(known - found)} of {len(known):,} missed, {len(found - known)} that are "
        f"none), groups of two rows or more {len(groups & same):,} of {len(groups):,}, sides and drops "
        f"{'identical' if is_same else 'DIFFERENT'}; processor seconds: index {between - start:.0f}, MinHash "
        f"{end - between:.0f}",
        flush=True,
    )
    return recall >= LEAST_RECALL and not found - known


def main() -> None:
    parser = argparse.ArgumentParser(description="The stage split on large pools: time, growth, memory, recall.")
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS, help="sizes of the pool")
    parser.add_argument("--recall", type=int, default=RECALL, help="rows of which all near pairs are found; 0: none")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    arguments = parser.parse_args()
    print(describe_hardware(), flush=True)
    is_right = not arguments.recall or measure_recall(arguments.recall)
    runs: dict[int, StageRun] = {}
    print("\n| rows | seconds | processor s | us a row | peak MB | on sides | dropped |\n|---|---|---|---|---|---|---|")
    for number in sorted(arguments.rows):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare_folder(folder, number)
            runs[number] = run = run_split(folder)
            details = read_details(folder / "metrics" / "split.json")
        kept, dropped = sum(details["rows"].values()), sum(details["dropped"].values())
        print(
            f"| {number:,} | {run.seconds:,.0f} | {run.processor:,.0f} | {run.processor / number * 1e6:,.0f} "
            f"| {run.megabytes:,.0f} | {kept:,} | {dropped:,} |",
            flush=True,
        )
    if not runs:
        raise SystemExit(not is_right and arguments.check)
    least, most = min(runs), max(runs)
    growth = math.log(runs[most].processor / runs[least].processor) / math.log(most / least) if most > least else 1.0
    print(
        f"\nsplit, {most:,} rows: {runs[most].seconds / 60:,.1f} minutes, {runs[most].processor / 60:,.1f} of the "
        f"processors, {runs[most].megabytes:,.0f} MB, growth n^{growth:.2f} from {least:,}"
    )
    is_right &= growth <= MOST_EXPONENT and runs[most].megabytes <= MOST_MEGABYTES
    if arguments.check and not (is_right and runs[most].seconds <= MOST_MINUTES * 60):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
