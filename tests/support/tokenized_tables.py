"""Tables of tokenized rows as the stage tokenize writes them, for tests of what reads them."""

from collections.abc import Sequence
from pathlib import Path

from netllama.core.tokenized_rows import TokenizedRow, build_record_batch, open_parquet_writer


def write_tokenized_rows(path: Path, rows: Sequence[TokenizedRow], template_hash: str = "") -> None:
    with open_parquet_writer(path, template_hash) as append:
        append(build_record_batch(rows))
