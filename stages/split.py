"""Seeds, generated and extra instructions into train, val and test, with no row's twin on another side.

Reads  data/seeds/F.jsonl, data/generated/instructions.jsonl, data/extra/ (your own files, named by `split.extra`),
       data/questions/*.jsonl (which no row may give away), params `families`, `contamination`, `split`
Writes data/splits/train.jsonl, val.jsonl, test.jsonl, dropped.jsonl (each row that is on no side, and why),
       leakage.jsonl (what is found in train nevertheless), metrics/split.json
Run    python -m stages.split

Bad rows of your own data, exact duplicates and rows that give an evaluation question away are dropped. The others are
placed one after the other, near-duplicates (ROUGE-L F1 of instruction, input and output) as a group: groups.py says
how, and why added rows don't move old ones. Then the stage measures how much of val, of test and of the questions is
found in train. If that is more than `split.max_leakage` it fails and writes nothing.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from netllama.contamination.evaluation_questions import Evaluation
from netllama.contamination.leakage_report import LeakedText, list_leaky_sides, measure_leakage
from netllama.core.errors import StageError, run_stage
from netllama.core.files import ensure_scratch_folder, write_findings, write_json, write_jsonl
from netllama.core.param_types import Families
from netllama.core.params import View
from netllama.core.records import (
    Instruction,
    SeedInstruction,
    load_instructions,
    load_questions,
    load_seeds,
    require_unique_ids,
)
from netllama.core.sections import ContaminationParams, SplitParams
from netllama.splitting.drops import Drop
from netllama.splitting.extra import load_extra
from netllama.splitting.groups import assign_sides, set_ranges
from netllama.splitting.pool_rows import PoolRow, drop_exact_duplicates, drop_given_away
from netllama.splitting.split_report import SHOWN, describe_drops, describe_seeds, summarise_split, warn_of_sizes

SEEDS = Path("data/seeds")
GENERATED = Path("data/generated/instructions.jsonl")
EXTRA = Path("data/extra")
QUESTIONS = Path("data/questions")
SPLITS = {
    "train": Path("data/splits/train.jsonl"),
    "val": Path("data/splits/val.jsonl"),
    "test": Path("data/splits/test.jsonl"),
}
DROPPED = Path("data/splits/dropped.jsonl")
LEAKAGE = Path("data/splits/leakage.jsonl")
METRICS = Path("metrics/split.json")


class Needs(View):
    """The params of this stage."""

    families: Families
    contamination: ContaminationParams
    split: SplitParams


def load_rows(families: Sequence[str], extra: Sequence[str]) -> tuple[list[PoolRow], list[Drop]]:
    """Seeds first, since of two duplicates the earlier one stays; and the bad rows of the files `extra`."""
    for name in extra:
        if Path(name).name != name or name == "..":
            raise StageError(f"split.extra: {name}: put the file into {EXTRA}/, which is hashed, and give its name")
    if twins := [stem for stem, number in Counter(Path(name).stem for name in extra).items() if number > 1]:
        raise StageError(f"split.extra: two files are called {twins[0]}: ids come from the name, so rename one")
    seeds = [
        SeedInstruction(family=family, **seed.model_dump()) for family in families for seed in load_seeds(SEEDS, family)
    ]
    files = [load_extra(EXTRA / name) for name in extra]
    own = [*seeds, *load_instructions(GENERATED)]
    require_unique_ids(f"{SEEDS} and {GENERATED}", own)
    rows = [*map(PoolRow, own), *(row for file in files for row in file.rows)]
    return rows, [drop for file in files for drop in file.drops]


def count_requested(split: SplitParams, rows: int) -> dict[str, int]:
    """How many of `rows` rows the params want in val and test; StageError where that leaves none for train."""
    sizes = {"val": split.val_size, "test": split.test_size}
    requested = {name: size if isinstance(size, int) else round(size * rows) for name, size in sizes.items()}
    if sum(requested.values()) >= rows:
        raise StageError(
            f"split.val_size and split.test_size ask for {requested['val']} + {requested['test']} of {rows} rows, "
            "which leaves none to train on: lower them, raise generate.num_instructions_to_generate, or add data with "
            "split.extra"
        )
    return requested


def refuse_leakage(leaky: Sequence[str], leaked: Sequence[LeakedText], limit: float) -> None:
    """Print the first leaked texts, write all of them to a file, and end the stage."""
    path = ensure_scratch_folder("split") / "leakage.jsonl"
    write_jsonl(path, (each.as_row() for each in leaked))
    for each in leaked[:SHOWN]:
        print(each, file=sys.stderr)
    raise StageError(
        f"{' and '.join(leaky)} are found in train, more than split.max_leakage ({limit:g}); {path} lists them all: "
        "remove these rows from your data, lower split.near_duplicate_threshold, or raise split.max_leakage"
    )


def write_sides(sides: Mapping[str, Sequence[Instruction]]) -> None:
    for name, path in SPLITS.items():
        write_jsonl(path, (row.model_dump() for row in sorted(sides[name], key=lambda row: (row.family, row.id))))


def main() -> None:
    needs = Needs.load()
    split = needs.split
    questions = load_questions(QUESTIONS)
    rows, bad = load_rows(needs.families, split.extra)
    distinct, duplicates = drop_exact_duplicates(rows)
    screened = drop_given_away(distinct, Evaluation(questions, needs.contamination))

    requested = count_requested(split, len(screened.kept))
    ranges = set_ranges([row.task for row in screened.kept], split.val_size, split.test_size, split.seed)
    found = assign_sides(screened.kept, split.near_duplicate_threshold, ranges, split.seed)
    if not found.sides["train"]:
        raise StageError("no row is left to train on: lower split.val_size and split.test_size, or add data")

    report, leaked = measure_leakage(found.sides, questions, split.near_duplicate_threshold, needs.contamination)
    sizes = {name: len(side) for name, side in found.sides.items()} | {"questions": len(questions)}
    if leaky := list_leaky_sides(report, sizes, split.max_leakage):
        refuse_leakage(leaky, leaked, split.max_leakage)

    drops = [*bad, *duplicates, *screened.drops, *found.drops]
    write_sides(found.sides)
    write_findings(DROPPED, (drop.as_row() for drop in drops), none="every row is on a side")
    leaks = (each.as_row() for each in [*screened.seeds, *leaked])
    write_findings(LEAKAGE, leaks, none="nothing of val, test and the questions is found in train")
    write_json(METRICS, summarise_split(found, drops, screened.seeds, report))
    lines = describe_drops(drops, DROPPED), describe_seeds(screened.seeds, LEAKAGE), warn_of_sizes(found, requested)
    for line in (line for listed in lines for line in listed):
        print(line)
    counts = ", ".join(f"{name} {len(side)}" for name, side in found.sides.items())
    print(f"split: {counts} -> {SPLITS['train'].parent}/")


if __name__ == "__main__":
    run_stage(main)
