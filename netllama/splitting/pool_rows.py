"""The rows that are to be split, and those that never get that far: duplicates, and rows that give a question away."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from netllama.contamination.compared_texts import TaskTexts, join_texts
from netllama.contamination.evaluation_questions import Evaluation, GivenAway
from netllama.contamination.leakage_report import LeakedText, shorten_text
from netllama.contamination.normalisation import squeeze_text
from netllama.contamination.text_workers import map_texts
from netllama.core.progress_bar import track_rows
from netllama.core.records import Instruction, Question
from netllama.core.sections import ContaminationParams
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


def drop_given_away(
    rows: Sequence[PoolRow], questions: Sequence[Question], contamination: ContaminationParams
) -> Screened:
    """Rows that give an evaluation question away are dropped. Seeds are kept, since `commands.validate` judges them."""
    asked = {question.id: question.question for question in questions}
    searched = map_texts(partial(_build_search, questions, contamination), [row.task for row in rows])
    kept, drops, seeds = [], [], []
    for row, found in zip(track_rows(rows, "questions"), searched, strict=True):
        task = row.task
        if found and task.source != "seed":
            drops.append(Drop("near_question", str(found), task.id, (found.question,), row.origin))
            continue
        kept.append(row)
        if found:
            shown = map(shorten_text, (join_texts(task), asked[found.question]))
            seeds.append(LeakedText("seeds", task.id, found.measure, round(found.score, 4), found.question, *shown))
    return Screened(kept, drops, seeds)


def _build_search(
    questions: Sequence[Question], contamination: ContaminationParams
) -> Callable[[TaskTexts], GivenAway | None]:
    return Evaluation(questions, contamination).find_given_away
