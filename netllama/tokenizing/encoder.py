"""Lines of a split into tokenized rows, a chunk at a time: what a worker process does.

A row is `id, family, source, input_ids, answer_start, loss_start, length`. One that is longer than `max_length` is
dropped, or loses the end of its input (`over_length: shorten_input`); answer and end-of-sequence are always whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netllama.core.errors import StageError
from netllama.core.files import parse_line
from netllama.core.records import Instruction, parse_as
from netllama.core.sections import PromptParams, TokenizeParams
from netllama.core.tokenized_rows import record_batch
from netllama.rendering.renderer import Rendered, Renderer, RenderingError, load_renderer

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Chunk:
    """Tokenized lines, in their order."""

    lines: int
    kept: "pyarrow.RecordBatch"
    over_length: list[dict[str, Any]]
    """What became of each row that was too long: `id, length, change, why`; a shortened one is in `kept`, too."""


class Encoder:
    def __init__(self, renderer: Renderer, params: TokenizeParams) -> None:
        self.renderer = renderer
        self.params = params

    @classmethod
    def load(cls, tokenizer: Path, prompt: PromptParams, params: TokenizeParams) -> "Encoder":
        return cls(load_renderer(tokenizer, prompt), params)

    def __call__(self, path: Path, lines: Sequence[tuple[int, str]]) -> Chunk:
        """The chunk of (number, text) lines of the file `path`; a bad line or row is an error that names it."""
        records: list[Instruction] = [parse_line(path, *line, _instruction) for line in lines]
        try:
            rendered = self.renderer.render_all([_fields(record) for record in records])
        except RenderingError as error:
            raise StageError(f"row {records[error.row].id}: {error}") from None
        kept, over_length = [], []
        for record, whole in zip(records, rendered, strict=True):
            length = len(whole.input_ids)
            if length <= self.params.max_length:
                kept.append(self._row(record, whole))
                continue
            shortened = self._shortened(record, length) if self.params.over_length == "shorten_input" else None
            entry = {"id": record.id, "length": length, "change": "dropped", "why": self._why(record, length)}
            if shortened:
                fitting, characters = shortened
                kept.append(self._row(record, fitting))
                entry |= {"change": "input shortened", "kept_length": len(fitting.input_ids)}
                entry |= {"kept_characters": characters, "input_characters": len(record.input)}
            over_length.append(entry)
        return Chunk(len(lines), record_batch(kept), over_length)

    def _row(self, record: Instruction, rendered: Rendered) -> dict[str, Any]:
        return {
            "id": record.id,
            "family": record.family,
            "source": record.source,
            "input_ids": rendered.input_ids,
            "answer_start": rendered.answer_start,
            "loss_start": 0 if self.params.train_on_prompt else rendered.answer_start,
            "length": len(rendered.input_ids),
        }

    def _shortened(self, record: Instruction, length: int) -> tuple[Rendered, int] | None:
        """The row with the longest start of its input that fits, and that start's characters; None: none fits.

        Cut where a token of the input ends, from the first place that may fit on: next to a border of prompt parts
        tokens join or part, so that it may take a few more.
        """
        ends = self.renderer.special_tokens.token_ends(record.input)
        tokens = len(ends)
        while tokens and length > self.params.max_length:
            tokens = max(0, tokens - (length - self.params.max_length))
            characters = ends[tokens - 1] if tokens else 0
            cut = self._cut(record, characters)
            length = len(cut.input_ids)
        return (cut, characters) if length <= self.params.max_length else None

    def _cut(self, record: Instruction, characters: int) -> Rendered:
        try:
            return self.renderer.render(record.instruction, record.output, record.input[:characters])
        except RenderingError as error:
            raise StageError(f"row {record.id}, its input cut to {characters} characters: {error}") from None

    def _why(self, record: Instruction, length: int) -> str:
        too_long = f"{length} tokens, max_length is {self.params.max_length}"
        if self.params.over_length == "shorten_input" and not record.input:
            return f"{too_long}; it has no input to shorten"
        return too_long


def _instruction(row: dict[str, Any]) -> Instruction:
    record: Instruction = parse_as(Instruction, row)
    return record


def _fields(record: Instruction) -> tuple[str, str, str]:
    return record.instruction, record.output, record.input
