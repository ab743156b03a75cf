"""Tokenized rows: what is measured and trained of them, and tables that hold them."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from netllama.core.errors import StageError
from netllama.core.tokenized_rows import TokenizedRow, read_template_hash, read_tokenized_rows
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
