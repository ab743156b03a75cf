"""Tokenized rows as parquet, the same bytes for the same rows, with the fingerprint of what rendered them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from netllama.core.errors import StageError
from netllama.core.files import atomic_path

if TYPE_CHECKING:
    import pyarrow

_TEMPLATE_HASH = "template_hash"


@dataclass(frozen=True, slots=True)
class TokenizedRow:
    """A prompt and its answer as one sequence of token ids."""

    id: str
    family: str
    source: str
    input_ids: list[int]
    """Prompt, answer and end-of-sequence token."""
    answer_start: int
    """Where the answer begins: what a model is measured on."""
    loss_start: int
    """Where training begins: at the answer, or at 0."""

    @property
    def length(self) -> int:
        return len(self.input_ids)

    @property
    def answer_tokens(self) -> int:
        return self.length - self.answer_start

    @property
    def trained_tokens(self) -> int:
        """The tokens with a loss: the first of a row has nothing before it that could predict it."""
        return self.length - max(1, self.loss_start)


_FIELDS = [field.name for field in fields(TokenizedRow)]


def _build_schema() -> "pyarrow.Schema":
    import pyarrow as pa

    types = {name: pa.string() for name in ("id", "family", "source")}
    types |= {"input_ids": pa.list_(pa.int32())}
    types |= {name: pa.int32() for name in ("answer_start", "loss_start", "length")}
    return pa.schema(types)


def build_record_batch(rows: Sequence[TokenizedRow]) -> "pyarrow.RecordBatch":
    """The rows as Arrow columns: the fields, and `length`."""
    import pyarrow as pa

    columns = {name: [getattr(row, name) for row in rows] for name in [*_FIELDS, "length"]}
    return pa.RecordBatch.from_pydict(columns, schema=_build_schema())


@contextmanager
def open_parquet_writer(path: Path, template_hash: str = "") -> Iterator[Callable[["pyarrow.RecordBatch"], None]]:
    """A function that appends a batch as a row group; the file is there when the block has ended well."""
    import pyarrow.parquet as pq

    schema = _build_schema().with_metadata({_TEMPLATE_HASH: template_hash} if template_hash else None)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:

        def append(batch: "pyarrow.RecordBatch") -> None:
            if batch.num_rows:
                writer.write_batch(batch.replace_schema_metadata(schema.metadata))

        yield append


def read_tokenized_rows(path: Path) -> list[TokenizedRow]:
    """The rows of a tokenized side, in the file's order."""
    import pyarrow.parquet as pq

    with _explain_unreadable(path):
        table = pq.read_table(path, schema=_build_schema())
    return [TokenizedRow(*fields) for fields in zip(*(table[name].to_pylist() for name in _FIELDS), strict=True)]


def read_template_hash(path: Path) -> str:
    """`Renderer.fingerprint` of the renderer that made the rows; empty: not recorded."""
    import pyarrow.parquet as pq

    with _explain_unreadable(path):
        metadata = pq.read_schema(path).metadata or {}
    return bytes(metadata.get(_TEMPLATE_HASH.encode(), b"")).decode()


@contextmanager
def _explain_unreadable(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise StageError(f"{path}: no such file; run `dvc repro tokenize`") from None
    except pa.ArrowInvalid as error:
        raise StageError(f"{path}: not a tokenized table ({error})") from None
