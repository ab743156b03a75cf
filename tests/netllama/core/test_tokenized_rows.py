"""Tokenized rows: what is measured and trained of them, and tables that hold them."""

import random
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from netllama.core.errors import StageError
from netllama.core.tokenized_rows import (
    TokenizedRow,
    build_record_batch,
    open_parquet_writer,
    read_template_hash,
    read_tokenized_rows,
)
from tests.support.tokenized_tables import write_tokenized_rows

Rows = Callable[..., list[TokenizedRow]]


def test_a_row_counts_its_tokens_and_those_that_are_measured_and_trained() -> None:
    row = TokenizedRow("a", "bgp", "seed", [5, 6, 7, 8, 9], answer_start=3, loss_start=3)
    assert (row.length, row.answer_tokens, row.trained_tokens) == (5, 2, 2)


def test_nothing_predicts_the_first_token_of_a_row_that_is_trained_as_a_whole() -> None:
    row = TokenizedRow("a", "bgp", "seed", [5, 6, 7, 8, 9], answer_start=3, loss_start=0)
    assert (row.answer_tokens, row.trained_tokens) == (2, 4)


def test_a_row_is_frozen_and_holds_nothing_but_its_fields() -> None:
    row = TokenizedRow("a", "bgp", "seed", [5, 6], 1, 1)
    with pytest.raises(FrozenInstanceError):
        row.loss_start = 0  # type: ignore[misc]
    assert not hasattr(row, "__dict__"), "a million rows would need a million dictionaries"


def test_rows_come_back_from_parquet(tmp_path: Path, tokenized_rows: Rows) -> None:
    rows = tokenized_rows(5)
    write_tokenized_rows(tmp_path / "a.parquet", rows)
    assert read_tokenized_rows(tmp_path / "a.parquet") == rows


def test_a_table_has_a_column_for_each_field_and_one_for_the_length(tmp_path: Path, tokenized_rows: Rows) -> None:
    rows = tokenized_rows(3)
    write_tokenized_rows(tmp_path / "a.parquet", rows, "abc")
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.column_names == ["id", "family", "source", "input_ids", "answer_start", "loss_start", "length"]
    assert table["length"].to_pylist() == [len(row.input_ids) for row in rows]
    assert read_template_hash(tmp_path / "a.parquet") == "abc"


def test_a_table_that_says_nothing_of_its_template_has_an_empty_hash(tmp_path: Path) -> None:
    write_tokenized_rows(tmp_path / "a.parquet", [])
    assert read_template_hash(tmp_path / "a.parquet") == ""
    assert read_tokenized_rows(tmp_path / "a.parquet") == []


def test_a_table_that_is_missing_or_not_a_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    with pytest.raises(StageError, match=rf"^{path}: no such file; run `dvc repro tokenize`$"):
        read_tokenized_rows(path)
    path.write_text("id,family\n")
    with pytest.raises(StageError, match=rf"^{path}: not a tokenized table"):
        read_tokenized_rows(path)


def test_a_damaged_table_is_an_error_and_never_other_rows(tmp_path: Path, tokenized_rows: Rows) -> None:
    """A flipped bit anywhere, most often in what says where the rows are; and each way to lose the end."""
    path, rows, draw = tmp_path / "train.parquet", tokenized_rows(40), random.Random(7)
    write_tokenized_rows(path, rows, "abc")
    whole, found = path.read_bytes(), 0
    damaged = [whole[:0], whole[:4], whole[: len(whole) // 2], whole[:-1], whole[: len(whole) // 2] + whole[-8:]]
    for number in range(150):
        bit = draw.randrange(len(whole) * 8) if number % 2 else (len(whole) - draw.randrange(1500)) * 8 - 1
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << draw.randrange(8)
        damaged.append(bytes(flipped))
    for content in damaged:
        path.write_bytes(content)
        said = None
        try:
            assert read_tokenized_rows(path) == rows
        except StageError as error:
            said = str(error)
        if said is not None:
            found += 1
            assert said.startswith(f"{path}: not a tokenized table, or damaged (")
            assert "\n" not in said
    assert found > len(damaged) / 2, "what nobody reads is the smaller part of the file"


@pytest.mark.parametrize("name", ["id", "family", "input_ids", "answer_start", "length"])
def test_rows_that_another_writer_changed_are_refused(tmp_path: Path, tokenized_rows: Rows, name: str) -> None:
    path = tmp_path / "train.parquet"
    write_tokenized_rows(path, tokenized_rows(4), "abc")
    table, metadata = pq.read_table(path), pq.read_metadata(path).metadata
    column = table[name].to_pylist()
    changed = table.set_column(
        table.column_names.index(name), table.field(name), pa.array(column[::-1], table.field(name).type)
    )
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(changed)
        writer.add_key_value_metadata({"content_hash": metadata[b"content_hash"].decode()})
    with pytest.raises(StageError, match="its rows are not those that were written"):
        read_tokenized_rows(path)


def test_the_hash_does_not_depend_on_how_rows_are_batched(tmp_path: Path, tokenized_rows: Rows) -> None:
    rows, hashes = tokenized_rows(9), set()
    for size in (1, 4, 9):
        with open_parquet_writer(tmp_path / "a.parquet", "abc") as append:
            for start in range(0, 9, size):
                append(build_record_batch(rows[start : start + size]))
        assert read_tokenized_rows(tmp_path / "a.parquet") == rows
        hashes.add(pq.read_metadata(tmp_path / "a.parquet").metadata[b"content_hash"])
    assert len(hashes) == 1
