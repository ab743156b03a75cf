"""Seeds, generated and extra instructions into train, val and test, with no row's twin on another side.

Reads  data/seeds/F.jsonl, data/generated/instructions.jsonl, data/extra/ (your own, named by `split.extra`),
       data/questions/*.jsonl (what no row may give away), params `families`,
       `contamination`, `split`
Writes data/splits/train.jsonl, val.jsonl, test.jsonl, dropped.jsonl (each row that is on no side, and why),
       leakage.jsonl (what is found in train nevertheless), metrics/split.json
Run    python -m stages.split

Bad rows of your own data, exact duplicates and rows that give an evaluation question away go. The others are placed
one after the other, near-duplicates (ROUGE-L F1 of instruction, input and output) as a group: groups.py says how, and
why rows that are added don't move old ones. Then it is measured how much of val, of test and of the questions is found
in train; more than `split.max_leakage` ends the stage, and nothing is written.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from netllama.contamination.evaluation_questions import Evaluation
from netllama.contamination.leakage_report import Leak, leaks, snippet, too_leaky
from netllama.contamination.normalisation import exact
from netllama.core.errors import StageError, run_stage
from netllama.core.files import scratch, write_json, write_jsonl
from netllama.core.params import View
from netllama.core.records import (
    Instruction,
    SeedInstruction,
    load_instructions,
    load_questions,
    load_seeds,
    require_unique_ids,
)
from netllama.core.sections import ContaminationParams, Families, SplitParams
from netllama.splitting.drops import Drop, Origin
from netllama.splitting.extra import load_extra
from netllama.splitting.groups import BAR_FROM, assign, comparable, limits
from netllama.splitting.split_report import SHOWN, metrics, of_drops, of_seeds, unbalanced

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

Placed = tuple[Origin | None, Instruction]
"""A row and, if it is foreign, where it stands."""


class Needs(View):
    """The params of this stage."""

    families: Families
    contamination: ContaminationParams
    split: SplitParams


def load_rows(families: Sequence[str], extra: Sequence[str]) -> tuple[list[Placed], list[Drop]]:
    """Seeds first: of two duplicates the earlier one stays. The bad rows of `extra` come back as drops."""
    for name in extra:
        if Path(name).name != name or name == "..":
            raise StageError(f"split.extra: {name}: put the file into {EXTRA}/, which is hashed, and give its name")
    if twins := [stem for stem, number in Counter(Path(name).stem for name in extra).items() if number > 1]:
        raise StageError(f"split.extra: two files are called {twins[0]}: ids come from the name, rename one")
    seeds = [
        SeedInstruction(family=family, **seed.model_dump()) for family in families for seed in load_seeds(SEEDS, family)
    ]
    files = [load_extra(EXTRA / name) for name in extra]
    own = [*seeds, *load_instructions(GENERATED)]
    require_unique_ids(f"{SEEDS} and {GENERATED}", own)
    rows: list[Placed] = [(None, row) for row in own]
    return rows + [placed for file in files for placed in file.rows], [drop for file in files for drop in file.drops]


def without_exact_duplicates(rows: Iterable[Placed]) -> tuple[list[Placed], list[Drop]]:
    """Rows equal but for white space and the like go. Case and punctuation count: `as_path[0]` is not `as_path[-1]`."""
    first: dict[str, str] = {}
    kept, drops = [], []
    for origin, row in rows:
        text = exact(comparable(row))
        if same := first.get(text):
            drops.append(Drop("exact_duplicate", f"the same text as {same}", row.id, (same,), origin))
        else:
            first[text] = row.id
            kept.append((origin, row))
    return kept, drops


def without_questions(rows: Sequence[Placed], evaluation: Evaluation) -> tuple[list[Placed], list[Drop], list[Leak]]:
    """Rows that give a question away go. Seeds stay, and are reported: `commands.validate` holds those apart."""
    kept, drops, seeds = [], [], []
    for origin, row in tqdm(rows, desc="questions", unit="row", disable=len(rows) < BAR_FROM):
        given = evaluation.given_away(row)
        if given and row.source != "seed":
            drops.append(Drop("near_question", str(given), row.id, (given.question,), origin))
            continue
        kept.append((origin, row))
        if given:
            texts = snippet(comparable(row)), snippet(evaluation.text(given.question))
            seeds.append(Leak("seeds", row.id, given.measure, round(given.score, 4), given.question, *texts))
    return kept, drops, seeds


def count(size: float, rows: int) -> int:
    """A param that is a count (int) or a share (float) of `rows`."""
    return size if isinstance(size, int) else round(size * rows)


def refuse(leaky: Sequence[str], found: Sequence[Leak], limit: float) -> None:
    """Show what is found in train, keep all of it in a file, and end the stage."""
    path = scratch("split") / "leakage.jsonl"
    write_jsonl(path, (leak.as_row() for leak in found))
    for leak in found[:SHOWN]:
        print(leak, file=sys.stderr)
    raise StageError(
        f"{' and '.join(leaky)} are found in train, more than split.max_leakage ({limit:g}); each is listed in {path}: "
        "take these rows out of your data, lower split.near_duplicate_threshold, or raise split.max_leakage"
    )


def main() -> None:
    needs = Needs.load()
    split, contamination = needs.split, needs.contamination
    questions = load_questions(QUESTIONS)
    placed, bad = load_rows(needs.families, split.extra)
    distinct, duplicates = without_exact_duplicates(placed)
    evaluation = Evaluation(questions, contamination.similarity_threshold, contamination.ngram)
    clean, near_questions, near_seeds = without_questions(distinct, evaluation)

    rows, origins = [row for _, row in clean], {row.id: origin for origin, row in clean}
    asked = {"val": count(split.val_size, len(rows)), "test": count(split.test_size, len(rows))}
    if sum(asked.values()) >= len(rows):
        raise StageError(
            f"split.val_size and split.test_size ask for {asked['val']} + {asked['test']} of {len(rows)} rows: nothing "
            "is left to train on; lower them, raise generate.num_instructions_to_generate, or add data with split.extra"
        )
    ranges = limits(rows, split.val_size, split.test_size, split.seed)
    found = assign(rows, split.near_duplicate_threshold, ranges, split.seed)
    if not found.sides["train"]:
        raise StageError("no row is left to train on: lower split.val_size and split.test_size, or add data")
    two_sides = [replace(drop, origin=origins[drop.id]) for drop in found.drops]

    report, leaked = leaks(found.sides, questions, split.near_duplicate_threshold, contamination.ngram)
    sizes = {name: len(side) for name, side in found.sides.items()} | {"questions": len(questions)}
    if leaky := too_leaky(report, sizes, split.max_leakage):
        refuse(leaky, leaked, split.max_leakage)

    drops = [*bad, *duplicates, *near_questions, *two_sides]
    for name, path in SPLITS.items():
        write_jsonl(path, (row.model_dump() for row in sorted(found.sides[name], key=lambda row: (row.family, row.id))))
    write_jsonl(DROPPED, (drop.as_row() for drop in drops))
    write_jsonl(LEAKAGE, (leak.as_row() for leak in [*near_seeds, *leaked]))
    write_json(METRICS, metrics(found, drops, near_seeds, report))
    for line in (*of_drops(drops, DROPPED), *of_seeds(near_seeds, LEAKAGE), *unbalanced(found, asked)):
        print(line)
    print(
        f"split: {', '.join(f'{name} {len(side)}' for name, side in found.sides.items())} -> {SPLITS['train'].parent}/"
    )


if __name__ == "__main__":
    run_stage(main)
