"""Tokenized rows as parquet, the same bytes for the same rows, with the fingerprint of what rendered them.

A damaged table is an error, never other rows: pages have checksums, which any reader can verify, and since parquet has
none for what says where they are, the file holds a hash of the rows, too.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from netllama.core.errors import StageError
from netllama.core.files import atomic_path

if TYPE_CHECKING:
    import pyarrow

READING = "reading"
"""The source of rows with documents, whose answers are short."""
_TEMPLATE_HASH = "template_hash"
_CONTENT_HASH = "content_hash"


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
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        content = _ContentHash(template_hash)

        def append(batch: "pyarrow.RecordBatch") -> None:
            if batch.num_rows:
                writer.write_batch(batch.replace_schema_metadata(schema.metadata))
                content.add(batch.columns)

        yield append
        writer.add_key_value_metadata({_CONTENT_HASH: content.compute()})


def read_tokenized_rows(path: Path) -> list[TokenizedRow]:
    """The rows of a tokenized side, in the file's order; StageError if they are not those that were written."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with _explain_unreadable(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        table = file.read()
        if not table.schema.equals(_build_schema()):
            raise ValueError("its columns are not those of tokenized rows")
        content = _ContentHash(read_template_hash(path))
        for batch in table.to_batches():
            content.add(batch.columns)
        written = (file.metadata.metadata or {}).get(_CONTENT_HASH.encode(), b"").decode()
        if content.compute() != written or not pc.list_value_length(table["input_ids"]).equals(table["length"]):
            raise ValueError("its rows are not those that were written")
        return [TokenizedRow(*fields) for fields in zip(*(table[name].to_pylist() for name in _FIELDS), strict=True)]


class _ContentHash:
    """A hash of all rows and of what rendered them, whatever batches the rows come in."""

    def __init__(self, template_hash: str) -> None:
        self._template_hash = template_hash
        self._columns = [hashlib.sha256() for _ in _build_schema()]

    def add(self, columns: "Sequence[pyarrow.Array]") -> None:
        import pyarrow as pa

        for digest, column in zip(self._columns, columns, strict=True):
            if pa.types.is_string(column.type):
                digest.update("".join(f"{len(text)} {text}" for text in column.to_pylist()).encode())
            else:  # how many ids a row has is a column, too
                digest.update((column.flatten() if pa.types.is_list(column.type) else column).to_numpy().tobytes())

    def compute(self) -> str:
        found = [self._template_hash, *(digest.hexdigest() for digest in self._columns)]
        return hashlib.sha256(" ".join(found).encode()).hexdigest()


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
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise StageError(f"{path}: not a tokenized table, or damaged ({reason}); run `dvc repro tokenize`") from None
