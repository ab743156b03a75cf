"""Finds the near-duplicates of a large pool in parts, on as many nodes as you like, before the stage split runs.

Reads  what the stage split reads, and the same params
Writes .scratch/split/ (a folder for each of 16 units of work; split takes those that are there and searches the others)
Run    python -m commands.near_duplicates --shard 3/16

A SLURM array runs one shard a job: docs/scale.md. The result is that of one process, whoever searched which unit.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from netllama.core.errors import StageError, run_stage
from netllama.core.files import ensure_scratch_folder
from netllama.core.param_types import Families
from netllama.core.params import View
from netllama.core.sections import ContaminationParams, SplitParams
from netllama.novelty.minhash import UNITS
from netllama.novelty.near_pairs import EXACT_ROWS, is_small
from netllama.splitting.near_rows import StoredSearch, share_units
from netllama.splitting.pool import Sources, read_pool

SOURCES = Sources(
    Path("data/seeds"), Path("data/generated/instructions.jsonl"), Path("data/extra"), Path("data/questions")
)


class SearchNeeds(View):
    """The params of this command: those of the stage split."""

    families: Families
    contamination: ContaminationParams
    split: SplitParams


def read_shard(text: str) -> tuple[int, int]:
    """`I/N`: the part I, counted from 1, of N."""
    shard, _, shards = text.partition("/")
    if not (shard.isdecimal() and shards.isdecimal() and 1 <= int(shard) <= int(shards) <= UNITS):
        raise StageError(f"--shard {text}: give the part and the number of parts, as 3/16; there are {UNITS} at most")
    return int(shard), int(shards)


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the command line, which None stands for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="python -m commands.near_duplicates")
    parser.add_argument("--shard", metavar="I/N", default="1/1", help="search the part I of N (default: all)")
    shard, shards = read_shard(parser.parse_args(arguments).shard)
    needs = SearchNeeds.load()
    threshold = needs.split.near_duplicate_threshold
    pool = read_pool(SOURCES, needs.families, needs.split.extra, needs.contamination)
    rows = pool.screened.kept
    if is_small(len(rows), threshold):
        print(f"near_duplicates: nothing to share: split compares {len(rows)} rows itself (up to {EXACT_ROWS}, or any")
        print("number where split.near_duplicate_threshold is below 0.56)")
        return
    search = StoredSearch(rows, pool.common, threshold, ensure_scratch_folder("split"))
    found = search.find(share_units(shard, shards))
    print(f"near_duplicates: shard {shard} of {shards}: {len(found)} of {UNITS} units searched -> {search.folder}")


if __name__ == "__main__":
    run_stage(main)
