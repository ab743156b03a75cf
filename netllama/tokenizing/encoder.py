"""Lines of a split, or of tasks with documents, into tokenized rows, some at a time: what a worker process does.

A row of more than `max_length` tokens is left out and told of; of a task with documents first those that don't hold the
answer are, one by one. Answer and end-of-sequence are always whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from netllama.core.errors import StageError
from netllama.core.files import load_all, parse_line
from netllama.core.records import parse_as, parse_instruction
from netllama.core.sections import PromptParams, TokenizeParams
from netllama.core.tokenized_rows import READING, TokenizedRow, build_record_batch
from netllama.reading.reading_records import ReadingTask
from netllama.reading.shown_documents import find_texts, load_documents
from netllama.rendering.document_texts import phrase_with_documents
from netllama.rendering.renderer import Rendered, Renderer, RenderingError, load_renderer

if TYPE_CHECKING:
    import pyarrow


class LongRow(NamedTuple):
    """A row of more than `max_length` tokens, with as few documents as it may have."""

    id: str
    length: int


class ShortenedRow(NamedTuple):
    """A row that has `max_length` tokens or fewer since documents were left out."""

    id: str
    length: int
    """Tokens with all of them."""
    documents_left_out: int


@dataclass(frozen=True)
class EncodedLines:
    """Tokenized lines, in their order, and the numbers that are told of them."""

    lines: int
    kept: "pyarrow.RecordBatch"
    lengths: list[int]
    """Tokens of each kept row."""
    answer_tokens: int
    """Sum over the kept rows."""
    first_of_family: dict[str, TokenizedRow]
    too_long: list[LongRow]
    shortened: list[ShortenedRow]


class _PhrasedLine(NamedTuple):
    """What a line says: the texts to render, and whose they are."""

    id: str
    family: str
    source: str
    request: str
    answer: str
    context: str
    task: ReadingTask | None = None
    """Where the request has documents."""


class Encoder:
    def __init__(self, renderer: Renderer, params: TokenizeParams, documents: Mapping[str, str] | None = None) -> None:
        """`documents`: texts by id, of tasks with documents; None: the lines are instructions."""
        self.renderer = renderer
        self.params = params
        self.documents = documents

    @classmethod
    def load(cls, tokenizer: Path, prompt: PromptParams, params: TokenizeParams, chunks: Path | None) -> "Encoder":
        """`chunks`: where the texts of documents are; None: the lines are instructions."""
        return cls(load_renderer(tokenizer, prompt), params, load_documents(chunks) if chunks else None)

    def __call__(self, path: Path, lines: Sequence[tuple[int, str]]) -> EncodedLines:
        """What becomes of (number, text) lines of the file `path`; an error names each bad line, or a bad row."""
        read = load_all(partial(self._read_line, path, *line) for line in lines)
        rows = self._render(read)
        shortened = []
        for place, row in enumerate(rows):
            task = read[place].task
            if task and row.length > self.params.max_length:
                rows[place], left_out = self._leave_out_documents(task, row)
                if rows[place].length <= self.params.max_length:
                    shortened.append(ShortenedRow(row.id, row.length, left_out))
        kept = [row for row in rows if row.length <= self.params.max_length]
        first_of_family: dict[str, TokenizedRow] = {}
        for row in kept:
            first_of_family.setdefault(row.family, row)
        return EncodedLines(
            lines=len(lines),
            kept=build_record_batch(kept),
            lengths=[row.length for row in kept],
            answer_tokens=sum(row.answer_tokens for row in kept),
            first_of_family=first_of_family,
            too_long=[LongRow(row.id, row.length) for row in rows if row.length > self.params.max_length],
            shortened=shortened,
        )

    def _leave_out_documents(self, task: ReadingTask, row: TokenizedRow) -> tuple[TokenizedRow, int]:
        """The row with as many documents as fit, or as few as there may be, and how many are left out."""
        left_out = 0
        while row.length > self.params.max_length and (fewer := task.drop_distractor()):
            task, left_out = fewer, left_out + 1
            [row] = self._render([self._phrase_task(task)])
        return row, left_out

    def _render(self, read: Sequence[_PhrasedLine]) -> list[TokenizedRow]:
        try:
            rendered = self.renderer.render_all([(row.request, row.answer, row.context) for row in read])
        except RenderingError as error:
            raise StageError(f"row {read[error.row].id}: {error}") from None
        return [self._build_row(row, whole) for row, whole in zip(read, rendered, strict=True)]

    def _read_line(self, path: Path, number: int, line: str) -> _PhrasedLine:
        if self.documents is None:
            record = parse_line(path, number, line, parse_instruction)
            return _PhrasedLine(
                record.id, record.family, record.source, record.instruction, record.output, record.input
            )
        return self._phrase_task(parse_line(path, number, line, lambda row: parse_as(ReadingTask, row)))

    def _phrase_task(self, task: ReadingTask) -> _PhrasedLine:
        texts = find_texts(task.documents, self.documents or {}, f"task {task.id}")
        request = phrase_with_documents(task.instruction, texts)
        return _PhrasedLine(task.id, task.family, READING, request, task.output, "", task)

    def _build_row(self, row: _PhrasedLine, rendered: Rendered) -> TokenizedRow:
        loss_start = 0 if self.params.train_on_prompt else rendered.answer_start
        return TokenizedRow(row.id, row.family, row.source, rendered.input_ids, rendered.answer_start, loss_start)
