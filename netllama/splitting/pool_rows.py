"""The rows that are to be split, and those that never get that far: duplicates, and rows that give a question away."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from netllama.contamination.compared_texts import join_texts
from netllama.contamination.evaluation_questions import Evaluation
from netllama.contamination.leakage_report import LeakedText, shorten_text
from netllama.contamination.normalisation import squeeze_text
from netllama.core.progress_bar import track_rows
from netllama.core.records import Instruction
from netllama.splitting.drops import Drop, Origin


class PoolRow(NamedTuple):
    """A row of the pool and, if it is foreign, where it stands in its file."""

    task: Instruction
    origin: Origin | None = None


@dataclass(frozen=True)
class Screened:
    """What is left of the pool, and what is not, each in the order of the rows."""

    kept: list[PoolRow]
    drops: list[Drop]
    seeds: list[LeakedText]
    """Hand-written tasks that give a question away, and are kept."""


def drop_exact_duplicates(rows: Iterable[PoolRow]) -> tuple[list[PoolRow], list[Drop]]:
    """The first row of each text is kept. Case and punctuation count: `as_path[0]` is not `as_path[-1]`."""
    first: dict[bytes, str] = {}
    kept, drops = [], []
    for row in rows:
        # Its hash: the texts themselves would take as much memory as the rows.
        text = hashlib.blake2b(squeeze_text(join_texts(row.task)).encode(), digest_size=16).digest()
        if same := first.get(text):
            drops.append(Drop("exact_duplicate", f"the same text as {same}", row.task.id, (same,), row.origin))
        else:
            first[text] = row.task.id
            kept.append(row)
    return kept, drops


def drop_given_away(rows: Sequence[PoolRow], evaluation: Evaluation) -> Screened:
    """Rows that give an evaluation question away are dropped. Seeds are kept, since `commands.validate` judges them."""
    kept, drops, seeds = [], [], []
    for row in track_rows(rows, "questions"):
        task, found = row.task, evaluation.find_given_away(row.task)
        if found and task.source != "seed":
            drops.append(Drop("near_question", str(found), task.id, (found.question,), row.origin))
            continue
        kept.append(row)
        if found:
            texts = join_texts(task), evaluation.find_question(found.question).question
            shown = map(shorten_text, texts)
            seeds.append(LeakedText("seeds", task.id, found.measure, round(found.score, 4), found.question, *shown))
    return Screened(kept, drops, seeds)
