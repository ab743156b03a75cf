"""All rows that there are, read and screened: what split places on sides, and what its near-duplicates are found in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from netllama.contamination.common_text import CommonText
from netllama.core.files import load_all
from netllama.core.records import Question, SeedInstruction, load_content, load_instructions, require_unique_ids
from netllama.core.sections import ContaminationParams
from netllama.splitting.drops import Drop
from netllama.splitting.extra import ForeignFile, load_files
from netllama.splitting.pool_rows import PoolRow, Screened, drop_exact_duplicates, drop_given_away


class Sources(NamedTuple):
    """Where the rows and the questions are."""

    seeds: Path
    generated: Path
    extra: Path
    questions: Path


@dataclass(frozen=True)
class Pool:
    """The rows of all sources, without those that never get on a side."""

    questions: list[Question]
    files: list[ForeignFile]
    duplicates: list[Drop]
    screened: Screened
    common: CommonText


def read_pool(
    sources: Sources, families: Sequence[str], extra: Sequence[str], contamination: ContaminationParams
) -> Pool:
    """`extra`: the names of your files. The error lists what is wrong in all sources."""
    loads: list[Callable[[], Any]] = [
        partial(load_content, sources.seeds, sources.questions, families),
        partial(load_instructions, sources.generated),
        partial(load_files, sources.extra, extra),
    ]
    (content, questions), generated, files = load_all(loads)
    seeds = [SeedInstruction(family=name, **seed.model_dump()) for name, own in content.items() for seed in own]
    own = [*seeds, *generated]
    require_unique_ids(f"{sources.seeds} and {sources.generated}", own)
    # Seeds first, since of two duplicates the earlier one stays.
    rows = [*map(PoolRow, own), *(row for file in files for row in file.rows)]
    distinct, duplicates = drop_exact_duplicates(rows)
    screened = drop_given_away(distinct, questions, contamination)
    common = CommonText([row.task for row in screened.kept], contamination.ngram)
    return Pool(questions, files, duplicates, screened, common)
