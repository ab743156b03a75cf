"""Tokenized rows as parquet, the same bytes for the same rows, with the fingerprint of what rendered them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netllama.core.errors import StageError
from netllama.core.files import atomic_path

if TYPE_CHECKING:
    import pyarrow

COLUMNS = {
    "id": "string",
    "family": "string",
    "source": "string",
    "input_ids": "list<int32>",
    "answer_start": "int32",
    "loss_start": "int32",
    "length": "int32",
}
_TEMPLATE_HASH = "template_hash"


def _schema() -> "pyarrow.Schema":
    import pyarrow as pa

    types = {"string": pa.string(), "int32": pa.int32(), "list<int32>": pa.list_(pa.int32())}
    return pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])


def record_batch(rows: Sequence[dict[str, Any]]) -> "pyarrow.RecordBatch":
    import pyarrow as pa

    return pa.RecordBatch.from_pylist(list(rows), schema=_schema())


@contextmanager
def parquet_writer(path: Path, template_hash: str = "") -> Iterator[Callable[["pyarrow.RecordBatch"], None]]:
    """A function that appends a batch as a row group; the file is there when the block has ended well."""
    import pyarrow.parquet as pq

    schema = _schema().with_metadata({_TEMPLATE_HASH: template_hash} if template_hash else None)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:

        def append(batch: "pyarrow.RecordBatch") -> None:
            if batch.num_rows:
                writer.write_batch(batch.replace_schema_metadata(schema.metadata))

        yield append


def write_parquet(path: Path, rows: Sequence[dict[str, Any]], template_hash: str = "") -> None:
    with parquet_writer(path, template_hash) as append:
        append(record_batch(rows))


def read_parquet(path: Path) -> "pyarrow.Table":
    """The rows of a tokenized side, in the file's order."""
    import pyarrow.parquet as pq

    with _readable(path):
        return pq.read_table(path, schema=_schema())


def template_hash(path: Path) -> str:
    """`Renderer.fingerprint` of the renderer that made the rows; empty: not recorded."""
    import pyarrow.parquet as pq

    with _readable(path):
        metadata = pq.read_schema(path).metadata or {}
    return bytes(metadata.get(_TEMPLATE_HASH.encode(), b"")).decode()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise StageError(f"{path}: no such file; run `dvc repro tokenize`") from None
    except pa.ArrowInvalid as error:
        raise StageError(f"{path}: not a tokenized table ({error})") from None
