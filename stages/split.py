"""Seeds, generated and extra instructions into train, val and test, with no row's twin on another side.

Reads  data/seeds/F.jsonl, data/generated/instructions.jsonl, data/extra/ (your own, named by `split.extra`),
       params `split`, `generate.families`
Writes data/splits/train.jsonl, val.jsonl, test.jsonl, metrics/split.json
Run    python -m stages.split

Exact duplicates go; near-duplicates (ROUGE-L F1 of instruction, input and output) form groups, and a
group goes to one side as a whole. Within each family the groups are ranked by a hash of (seed, id), so
that new rows do not reshuffle the old ones.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stages.core.errors import StageError, run_stage
from stages.core.files import write_json, write_jsonl
from stages.core.params import load_params
from stages.core.records import Instruction, load_extra, load_instructions, load_seeds
from stages.novelty.index import similar_pairs

SEEDS = Path("data/seeds")
GENERATED = Path("data/generated/instructions.jsonl")
EXTRA = Path("data/extra")
SPLITS = {
    "train": Path("data/splits/train.jsonl"),
    "val": Path("data/splits/val.jsonl"),
    "test": Path("data/splits/test.jsonl"),
}
METRICS = Path("metrics/split.json")


def load_rows(families: Sequence[str], extra: Sequence[str]) -> list[Instruction]:
    """Seeds first: of two duplicates the earlier one stays."""
    for name in extra:
        if Path(name).name != name or name == "..":
            raise StageError(f"split.extra: {name}: put the file into {EXTRA}/, which is hashed, and give its name")
    if twins := [stem for stem, number in Counter(Path(name).stem for name in extra).items() if number > 1]:
        raise StageError(f"split.extra: two files are called {twins[0]}: ids come from the name, rename one")
    seeds = [
        Instruction(family=family, source="seed", **seed.model_dump())
        for family in families
        for seed in load_seeds(SEEDS, family)
    ]
    return [
        *seeds,
        *load_instructions(GENERATED),
        *itertools.chain.from_iterable(load_extra(EXTRA / name) for name in extra),
    ]


def comparable(row: Instruction) -> str:
    """The row as one text: what duplicates are judged on."""
    return f"{row.instruction} {row.input} {row.output}"


def without_exact_duplicates(rows: Sequence[Instruction]) -> list[Instruction]:
    """Rows equal but for white space go. Case and punctuation count: `as_path[0]` is not `as_path[-1]`."""
    first: dict[str, Instruction] = {}
    for row in rows:
        first.setdefault(" ".join(comparable(row).split()), row)
    return list(first.values())


def near_duplicate_groups(rows: Sequence[Instruction], threshold: float) -> list[list[Instruction]]:
    """Rows joined by chains of similar pairs, each group in the order of `rows`."""
    pairs = similar_pairs([comparable(row) for row in rows], threshold)
    left, right = zip(*pairs, strict=True) if pairs else ((), ())
    graph = coo_array(([1] * len(pairs), (left, right)), shape=(len(rows), len(rows)))
    _, labels = connected_components(graph, directed=False)
    groups: dict[int, list[Instruction]] = {}
    for row, label in zip(rows, labels, strict=True):
        groups.setdefault(int(label), []).append(row)
    return list(groups.values())


def quotas(total: int, counts: dict[str, int]) -> dict[str, int]:
    """`total` shared out in proportion to `counts`, by largest remainder (ties: by name)."""
    rows = sum(counts.values())
    exact = {name: total * count / rows for name, count in counts.items()}
    shares = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(counts, key=lambda name: (shares[name] - exact[name], name))
    for name in by_remainder[: total - sum(shares.values())]:
        shares[name] += 1
    return shares


def assign(groups: Sequence[list[Instruction]], val: int, test: int, seed: int) -> dict[str, list[Instruction]]:
    """Whole groups to sides: per family the lowest hashes fill test, then val; the rest is train.

    A group that would overfill a side's quota is passed over for that side.
    """
    counts = Counter(row.family for group in groups for row in group)
    room = {"test": quotas(test, counts)}
    room["val"] = quotas(val, {family: number - room["test"][family] for family, number in counts.items()})
    sides: dict[str, list[Instruction]] = {name: [] for name in SPLITS}
    ranked = sorted(groups, key=lambda group: hashlib.sha256(f"{seed}/{group[0].id}".encode()).digest())
    for group in ranked:
        size = Counter(row.family for row in group)
        side = next((name for name in room if all(room[name][f] >= n for f, n in size.items())), "train")
        if side != "train":
            for family, number in size.items():
                room[side][family] -= number
        sides[side] += group
    return {name: sorted(rows, key=lambda row: (row.family, row.id)) for name, rows in sides.items()}


def count(size: float, rows: int) -> int:
    """A param that is a count (int) or a share (float) of `rows`."""
    return size if isinstance(size, int) else round(size * rows)


def main() -> None:
    params = load_params("split", "generate.families")
    split: Any = params.split
    rows = load_rows(params.generate.families, split.extra)
    distinct = without_exact_duplicates(rows)
    val, test = count(split.val_size, len(distinct)), count(split.test_size, len(distinct))
    if val + test >= len(distinct):
        raise StageError(
            f"split.val_size and split.test_size ask for {val} + {test} of {len(distinct)} rows: nothing is left to "
            "train on; lower them, raise generate.num_instructions_to_generate, or add data with split.extra"
        )
    groups = near_duplicate_groups(distinct, split.near_duplicate_threshold)
    sides = assign(groups, val, test, split.seed)
    for name, path in SPLITS.items():
        write_jsonl(path, (row.model_dump() for row in sides[name]))
    write_json(
        METRICS,
        {
            "rows": {name: len(side) for name, side in sides.items()},
            "family": {name: dict(Counter(row.family for row in side)) for name, side in sides.items()},
            "source": {name: dict(Counter(row.source for row in side)) for name, side in sides.items()},
            "exact_duplicates": len(rows) - len(distinct),
            "near_duplicates": len(distinct) - len(groups),
        },
    )
    sizes = ", ".join(f"{name} {len(side)}" for name, side in sides.items())
    print(f"split: {sizes} ({len(rows) - len(distinct)} exact duplicates dropped) -> {SPLITS['train'].parent}/")


if __name__ == "__main__":
    run_stage(main)
