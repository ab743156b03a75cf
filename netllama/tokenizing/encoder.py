"""Lines of a split into tokenized rows, a chunk at a time: what a worker process does.

A row of more than `max_length` tokens is left out and told of; answer and end-of-sequence are always whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from netllama.core.errors import StageError
from netllama.core.files import parse_line
from netllama.core.records import Instruction, parse_instruction
from netllama.core.sections import PromptParams, TokenizeParams
from netllama.core.tokenized_rows import TokenizedRow, build_record_batch
from netllama.rendering.renderer import Rendered, Renderer, RenderingError, load_renderer

if TYPE_CHECKING:
    import pyarrow


class LongRow(NamedTuple):
    """A row of more than `max_length` tokens."""

    id: str
    length: int


@dataclass(frozen=True)
class Chunk:
    """Tokenized lines, in their order, and the numbers that are told of them."""

    lines: int
    kept: "pyarrow.RecordBatch"
    lengths: list[int]
    """Tokens of each kept row."""
    answer_tokens: int
    """Sum over the kept rows."""
    first_of_family: dict[str, TokenizedRow]
    too_long: list[LongRow]


class Encoder:
    def __init__(self, renderer: Renderer, params: TokenizeParams) -> None:
        self.renderer = renderer
        self.params = params

    @classmethod
    def load(cls, tokenizer: Path, prompt: PromptParams, params: TokenizeParams) -> "Encoder":
        return cls(load_renderer(tokenizer, prompt), params)

    def __call__(self, path: Path, lines: Sequence[tuple[int, str]]) -> Chunk:
        """The chunk of (number, text) lines of the file `path`; a bad line or row is an error that names it."""
        records: list[Instruction] = [parse_line(path, *line, parse_instruction) for line in lines]
        try:
            rendered = self.renderer.render_all(
                [(record.instruction, record.output, record.input) for record in records]
            )
        except RenderingError as error:
            raise StageError(f"row {records[error.row].id}: {error}") from None
        rows = [self._build_row(record, whole) for record, whole in zip(records, rendered, strict=True)]
        kept = [row for row in rows if row.length <= self.params.max_length]
        first_of_family: dict[str, TokenizedRow] = {}
        for row in kept:
            first_of_family.setdefault(row.family, row)
        return Chunk(
            lines=len(lines),
            kept=build_record_batch(kept),
            lengths=[row.length for row in kept],
            answer_tokens=sum(row.answer_tokens for row in kept),
            first_of_family=first_of_family,
            too_long=[LongRow(row.id, row.length) for row in rows if row.length > self.params.max_length],
        )

    def _build_row(self, record: Instruction, rendered: Rendered) -> TokenizedRow:
        loss_start = 0 if self.params.train_on_prompt else rendered.answer_start
        return TokenizedRow(
            record.id, record.family, record.source, rendered.input_ids, rendered.answer_start, loss_start
        )
