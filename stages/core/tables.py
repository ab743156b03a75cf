"""Tokenized rows as parquet, the same bytes for the same rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import StageError
from stages.core.files import atomic_path

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


def _schema() -> "pyarrow.Schema":
    import pyarrow as pa

    types = {"string": pa.string(), "int32": pa.int32(), "list<int32>": pa.list_(pa.int32())}
    return pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])


def write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(list(rows), schema=_schema())
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_parquet(path: Path) -> "pyarrow.Table":
    """The rows of a tokenized side, in the file's order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, schema=_schema())
    except FileNotFoundError:
        raise StageError(f"{path}: no such file; run `dvc repro tokenize`") from None
    except pa.ArrowInvalid as error:
        raise StageError(f"{path}: not a tokenized table ({error})") from None
