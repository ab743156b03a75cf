"""Text to token ids and loss mask, one parquet file a side.

Reads  data/splits/, models/tokenizer/, params `prompt`, `tokenize`
Writes data/tokenized/train.parquet, val.parquet, test.parquet, preview.md (what is trained on, to look at),
       over_length.jsonl (the rows that were dropped), metrics/tokenize.json, tokenize_lengths.csv
Run    python -m stages.tokenize

The model is trained on the tokens of a row from `loss_start` on, and measured on those from `answer_start` on. A cut
answer would never teach it to stop: a row longer than `max_length` is dropped and counted, or ends the stage
(`over_length`). Many rows are tokenized by a process a core, a thousand at a time and never all in memory.
"""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from netllama.core.cores import count_cores
from netllama.core.errors import run_stage
from netllama.core.files import atomic_path, dump_canonical_json, iter_lines, write_csv, write_text
from netllama.core.metrics import write_metrics
from netllama.core.params import View
from netllama.core.sections import PromptParams, TokenizeParams
from netllama.core.tokenized_rows import open_parquet_writer
from netllama.tokenizing.encoder import Encoder
from netllama.tokenizing.side_summary import SideSummary, build_length_histogram, render_preview
from netllama.tokenizing.worker_pool import map_in_order

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


def tokenize_side(name: str, encoder: Encoder, prompt: PromptParams, over_length: TextIO) -> SideSummary:
    """One side into its table; what was too long goes to `over_length`, a line each."""
    params, path = encoder.params, SPLITS[name]
    total = sum(1 for _ in iter_lines(path))
    workers = count_cores() if total >= PARALLEL_ROWS else 1
    build = partial(Encoder.load, TOKENIZER, prompt, params) if workers > 1 else lambda: encoder
    side = SideSummary(name, params.max_length)
    with (
        open_parquet_writer(TOKENIZED[name], encoder.renderer.fingerprint) as append,
        tqdm(total=total, desc=f"tokenize {name}", unit="row", disable=total < 1000) as bar,
    ):
        for chunk in map_in_order(build, read_chunks(path), workers):
            append(chunk.kept)
            side.add(chunk)
            over_length.writelines(dump_canonical_json({"side": name} | row._asdict()) + "\n" for row in chunk.too_long)
            bar.update(chunk.lines)
        side.require_rows(params.over_length)
    return side


def main() -> None:
    needs = Needs.load()
    params = needs.tokenize
    encoder = Encoder.load(TOKENIZER, needs.prompt, params)
    sides = []
    with atomic_path(OVER_LENGTH) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as over_length:
        for name in SPLITS:
            side = tokenize_side(name, encoder, needs.prompt, over_length)
            sides.append(side)
            if name == "train":
                write_text(PREVIEW, render_preview(side.first_of_family, encoder.renderer))
            print(f"{name}: {side.rows} rows, {side.too_long} over max_length dropped -> {TOKENIZED[name]}")
        if not any(side.too_long for side in sides):
            over_length.write(dump_canonical_json({"none": "no row is over tokenize.max_length"}) + "\n")
    if any(side.too_long for side in sides):
        print(f"rows of more than {params.max_length} tokens (tokenize.max_length) are listed in {OVER_LENGTH}")
    write_csv(LENGTHS, build_length_histogram(sides))
    write_metrics(METRICS, {}, {side.name: side.to_metrics() for side in sides})


if __name__ == "__main__":
    run_stage(main)
