"""Text to token ids and loss mask, one parquet file a side.

Reads  data/splits/, data/retrieved/train.jsonl and chunks.jsonl (tasks with documents, for train), models/tokenizer/,
       params `prompt`, `tokenize`
Writes data/tokenized/train.parquet, val.parquet, test.parquet, preview.md (what is trained on, to look at),
       over_length.jsonl (rows that were dropped or lost documents), metrics/tokenize.json, tokenize_lengths.csv
Run    python -m stages.tokenize

The model is trained on the tokens of a row from `loss_start` on, and measured on those from `answer_start` on. A cut
answer would never teach it to stop: a row longer than `max_length` is dropped and counted, or ends the stage
(`over_length`). One with documents first loses those that don't hold the answer. Many rows are tokenized by a process a
core, a thousand at a time and never all in memory.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from netllama.core.cores import count_cores
from netllama.core.errors import StageError, run_stage
from netllama.core.files import (
    JsonObject,
    atomic_path,
    dump_canonical_json,
    has_findings,
    is_finding,
    iter_jsonl,
    iter_lines,
    load_all,
    write_csv,
    write_text,
)
from netllama.core.metrics import write_metrics
from netllama.core.params import View
from netllama.core.records import parse_as, parse_instruction
from netllama.core.sections import PromptParams, TokenizeParams
from netllama.core.tokenized_rows import open_parquet_writer
from netllama.core.worker_pool import map_in_order
from netllama.reading.reading_records import ReadingTask
from netllama.rendering.renderer import load_renderer
from netllama.tokenizing.encoder import Encoder
from netllama.tokenizing.side_summary import SideSummary, build_length_histogram, render_preview

SPLITS = {
    "train": Path("data/splits/train.jsonl"),
    "val": Path("data/splits/val.jsonl"),
    "test": Path("data/splits/test.jsonl"),
}
TOKENIZED = {
    "train": Path("data/tokenized/train.parquet"),
    "val": Path("data/tokenized/val.parquet"),
    "test": Path("data/tokenized/test.parquet"),
}
READING = Path("data/retrieved/train.jsonl")
CHUNKS = Path("data/retrieved/chunks.jsonl")
TOKENIZER = Path("models/tokenizer")
PREVIEW = Path("data/tokenized/preview.md")
OVER_LENGTH = Path("data/tokenized/over_length.jsonl")
METRICS = Path("metrics/tokenize.json")
LENGTHS = Path("metrics/tokenize_lengths.csv")

CHUNK_ROWS = 1000
"""Rows that are read, tokenized and written together: a row group of the parquet file."""
PARALLEL_ROWS = 20_000
"""From this many on worker processes pay: each takes 3 s to start, 20,000 rows take one core 6 s."""


class Needs(View):
    """The params of this stage."""

    prompt: PromptParams
    tokenize: TokenizeParams


def read_chunks(path: Path) -> Iterator[tuple[Path, list[tuple[int, str]]]]:
    lines = iter_lines(path)
    while chunk := list(islice(lines, CHUNK_ROWS)):
        yield path, chunk


def tokenize_side(name: str, needs: Needs, over_length: TextIO) -> SideSummary:
    """One side into its table; what was too long goes to `over_length`, a line each."""
    sources: list[tuple[Path, Path | None]] = [(SPLITS[name], None)]
    if name == "train" and has_findings(READING):
        sources.append((READING, CHUNKS))
    side = SideSummary(name, needs.tokenize.max_length)
    total = sum(1 for path, _ in sources for _ in iter_lines(path))
    workers = count_cores() if total >= PARALLEL_ROWS else 1
    with (
        open_parquet_writer(TOKENIZED[name], load_renderer(TOKENIZER, needs.prompt).fingerprint) as append,
        tqdm(total=total, desc=f"tokenize {name}", unit="row", disable=total < 1000) as bar,
    ):
        for path, chunks in sources:
            build = partial(Encoder.load, TOKENIZER, needs.prompt, needs.tokenize, chunks)
            for encoded in map_in_order(build, read_chunks(path), workers):
                append(encoded.kept)
                side.add(encoded)
                listed = [row._asdict() for row in encoded.too_long] + [row._asdict() for row in encoded.shortened]
                over_length.writelines(dump_canonical_json({"side": name} | row) + "\n" for row in listed)
                bar.update(encoded.lines)
        side.require_rows(needs.tokenize.over_length)
    return side


def require_readable() -> None:
    """StageError that lists the broken lines of all files, since a portion of rows knows only its own."""

    def read_through(path: Path, parse: Callable[[JsonObject], object]) -> None:
        for _ in iter_jsonl(path, parse):
            pass

    def parse_task(row: JsonObject) -> object:
        return parse_as(ReadingTask, row) if is_finding(row) else None

    loads = [partial(read_through, path, parse_instruction) for path in SPLITS.values()]
    load_all([*loads, partial(read_through, READING, parse_task)])


def tokenize_all(needs: Needs, over_length: TextIO) -> Iterator[SideSummary]:
    try:
        for name in SPLITS:
            yield tokenize_side(name, needs, over_length)
    except StageError:
        require_readable()
        raise


def main() -> None:
    needs = Needs.load()
    params = needs.tokenize
    renderer = load_renderer(TOKENIZER, needs.prompt)
    sides = []
    with atomic_path(OVER_LENGTH) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as over_length:
        for side in tokenize_all(needs, over_length):
            sides.append(side)
            if side.name == "train":
                write_text(PREVIEW, render_preview(side.first_of_family, renderer))
            print(f"{side.name}: {side.rows} rows, {side.too_long} over max_length dropped -> {TOKENIZED[side.name]}")
        if not any(side.too_long or side.shortened for side in sides):
            over_length.write(dump_canonical_json({"none": "no row is over tokenize.max_length"}) + "\n")
    if any(side.too_long for side in sides):
        print(f"rows of more than {params.max_length} tokens (tokenize.max_length) are listed in {OVER_LENGTH}")
    if shortened := sum(side.shortened for side in sides):
        print(f"{shortened} rows are shown fewer documents, so that they fit tokenize.max_length -> {OVER_LENGTH}")
    write_csv(LENGTHS, build_length_histogram(sides))
    write_metrics(METRICS, {}, {side.name: side.to_metrics() for side in sides})


if __name__ == "__main__":
    run_stage(main, __doc__)
