"""Seeds, generated and extra instructions into train, val and test, with no row's twin on another side.

Reads  data/seeds/F.jsonl, data/generated/instructions.jsonl, data/extra/ (your own files, named by `split.extra`),
       data/questions/*.jsonl (which no row may give away), params `families`, `contamination`, `split`
Writes data/splits/train.jsonl, val.jsonl, test.jsonl, dropped.jsonl (each row that is on no side, and why),
       leakage.jsonl (what is found in train nevertheless), metrics/split.json
Run    python -m stages.split

Bad rows of your own data, exact duplicates and rows that give an evaluation question away are dropped. The others are
placed one after the other, near-duplicates (ROUGE-L F1 of instruction, input and output) as a group: groups.py says
how, and why added rows don't move old ones. Those of more than 50,000 rows are found by MinHash (near_rows.py), which
python -m commands.near_duplicates spreads over nodes. Then the stage measures how much of val, of test and of the
questions is found in train. If that is more than `split.max_leakage` it fails and writes nothing.
"""

import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from netllama.contamination.leakage_report import LeakedText, list_leaky_sides, measure_leakage
from netllama.core.errors import StageError, run_stage
from netllama.core.files import ensure_scratch_folder, write_findings, write_jsonl
from netllama.core.metrics import write_metrics
from netllama.core.param_types import Families
from netllama.core.params import View
from netllama.core.records import Instruction
from netllama.core.sections import ContaminationParams, SplitParams
from netllama.splitting.drops import Origin
from netllama.splitting.groups import assign_sides, set_ranges
from netllama.splitting.leakage_rows import describe_leak, list_leaks, locate_texts
from netllama.splitting.near_rows import find_neighbours
from netllama.splitting.pool import Sources, read_pool
from netllama.splitting.program_rows import add_program_rows
from netllama.splitting.split_report import (
    SHOWN,
    describe_drops,
    describe_near_duplicates,
    describe_seeds,
    summarise_split,
    warn_of_lacks,
    warn_of_sizes,
)

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


def refuse_leakage(
    leaky: Sequence[str], leaked: Sequence[LeakedText], places: Mapping[str, Origin], limit: float
) -> None:
    """Print the first leaked texts, write all of them to a file, and end the stage."""
    path = ensure_scratch_folder("split") / "leakage.jsonl"
    write_jsonl(path, list_leaks(leaked, places))
    for each in leaked[:SHOWN]:
        print(describe_leak(each, places), file=sys.stderr)
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
    sources = Sources(SEEDS, GENERATED, EXTRA, QUESTIONS)
    pool = read_pool(sources, needs.families, split.extra, needs.contamination)
    questions, files, screened, common = pool.questions, pool.files, pool.screened, pool.common

    requested = count_requested(split, len(screened.kept))
    ranges = set_ranges([row.task for row in screened.kept], split.val_size, split.test_size, split.seed)
    scratch = ensure_scratch_folder("split")
    found = assign_sides(
        screened.kept,
        common,
        find_neighbours(screened.kept, common, split.near_duplicate_threshold, scratch),  # freed when all are placed
        ranges,
        split.seed,
    )
    given_away = add_program_rows(found, split.program_tasks, split.seed, questions, needs.contamination)
    if not found.sides["train"]:
        raise StageError("no row is left to train on: lower split.val_size and split.test_size, or add data")

    report, leaked = measure_leakage(
        found.sides, questions, common, split.near_duplicate_threshold, needs.contamination, scratch
    )
    listed = [*screened.seeds, *leaked]
    held = [GENERATED, *sorted(SEEDS.glob("*.jsonl")), *sorted(QUESTIONS.glob("*.jsonl"))]
    places = locate_texts(listed, screened.kept, held)
    sizes = {name: len(side) for name, side in found.sides.items()} | {"questions": len(questions)}
    if leaky := list_leaky_sides(report, sizes, split.max_leakage):
        refuse_leakage(leaky, leaked, places, split.max_leakage)

    drops = [
        *(drop for file in files for drop in file.drops),
        *pool.duplicates,
        *screened.drops,
        *found.drops,
        *given_away,
    ]
    readings = [file.reading for file in files]
    write_sides(found.sides)
    write_findings(DROPPED, (drop.as_row() for drop in drops), none="every row is on a side")
    leaks = list_leaks(listed, places)
    write_findings(LEAKAGE, leaks, none="nothing of val, test and the questions is found in train")
    details = summarise_split(found, drops, screened.seeds, report, readings)
    write_metrics(METRICS, {"leaked": sum(side.leaked for side in report.values())}, details)
    for line in itertools.chain(
        describe_drops(drops, DROPPED),
        (line for reading in readings for line in reading.describe()),
        describe_near_duplicates(found),
        describe_seeds(screened.seeds, LEAKAGE),
        warn_of_sizes(found, requested),
        warn_of_lacks(found, screened.kept, requested),
    ):
        print(line)
    counts = ", ".join(f"{name} {len(side)}" for name, side in found.sides.items())
    print(f"split: {counts} -> {SPLITS['train'].parent}/")


if __name__ == "__main__":
    run_stage(main, __doc__)
