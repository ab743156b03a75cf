"""Text to token ids and loss mask, one parquet file a side.

Reads  data/splits/, models/tokenizer/, params `tokenize`
Writes data/tokenized/train.parquet, val.parquet, test.parquet, preview.md (what is trained on, to look at),
       metrics/tokenize.json
Run    python -m stages.tokenize

A row is `id, family, source, input_ids, answer_start, loss_start, length`: the model is trained on the
tokens from `loss_start` on, and measured on those from `answer_start` on. Rows longer than `max_length`
are dropped and counted: a cut answer would never teach the model to stop.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stages.core.errors import StageError, run_stage
from stages.core.files import write_json, write_text
from stages.core.params import load_params
from stages.core.records import Instruction, load_instructions
from stages.core.rendering import Renderer, RenderingError, load_renderer
from stages.core.tables import write_parquet

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
METRICS = Path("metrics/tokenize.json")


def tokenize(row: Instruction, renderer: Renderer, train_on_prompt: bool) -> dict[str, Any]:
    try:
        rendered = renderer.render(row.instruction, row.output, row.input)
    except RenderingError as error:
        raise StageError(f"row {row.id}: {error}") from None
    return {
        "id": row.id,
        "family": row.family,
        "source": row.source,
        "input_ids": rendered.input_ids,
        "answer_start": rendered.answer_start,
        "loss_start": 0 if train_on_prompt else rendered.answer_start,
        "length": len(rendered.input_ids),
    }


def preview(rows: Sequence[dict[str, Any]], renderer: Renderer) -> str:
    """The first row of each family as Markdown: what is only read, and what is trained on."""
    parts = ["# What the model is trained on", "One row of each family, special tokens included."]
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        first.setdefault(row["family"], row)
    for row in first.values():
        ids, start = row["input_ids"], row["loss_start"]
        decode = renderer.tokenizer.decode
        parts += [f"## {row['id']}: {row['length']} tokens, loss on the last {row['length'] - start}"]
        parts += [f"### {title}\n\n````text\n{decode(part)}\n````" for title, part in
                  (("read only", ids[:start]), ("trained on", ids[start:])) if part]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def main() -> None:
    params = load_params("tokenize").tokenize
    renderer = load_renderer(TOKENIZER, params.template, params.system_prompt)
    metrics: dict[str, Any] = {}
    for side, path in SPLITS.items():
        rows = load_instructions(path)
        tokenized = [
            tokenize(row, renderer, params.train_on_prompt)
            for row in tqdm(rows, desc=f"tokenize {side}", unit="row", disable=len(rows) < 1000)
        ]
        kept = [row for row in tokenized if row["length"] <= params.max_length]
        if rows and not kept:
            shortest = min(row["length"] for row in tokenized)
            raise StageError(
                f"tokenize.max_length {params.max_length}: no {side} row fits, the shortest has {shortest}"
            )
        write_parquet(TOKENIZED[side], kept)
        metrics[side] = {
            "rows": len(kept),
            "dropped_too_long": len(rows) - len(kept),
            "tokens": sum(row["length"] for row in kept),
            "answer_tokens": sum(row["length"] - row["answer_start"] for row in kept),
            "longest": max((row["length"] for row in kept), default=0),
        }
        if side == "train":
            write_text(PREVIEW, preview(kept, renderer))
        print(f"{side}: {len(kept)} rows, {len(rows) - len(kept)} over max_length dropped -> {TOKENIZED[side]}")
    write_json(METRICS, metrics)


if __name__ == "__main__":
    run_stage(main)
