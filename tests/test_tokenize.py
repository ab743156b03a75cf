"""The stage that tokenizes: what is trained on, what is dropped, and the same bytes twice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stages import tokenize
from stages.core.errors import StageError
from stages.core.files import read_json, write_jsonl

Row = dict[str, Any]

ROWS = {
    "train": [
        ("bgp-1", "bgp", "What is a MED?", "", "A metric.\n"),
        ("pkt-1", "pkt", "Decode this header.", "45 00\n  00 28", "```python\nif x:\n    y = 'é👩'\n```"),
        ("bgp-2", "bgp", "List the states.", "", "Idle, Connect, Active, OpenSent, OpenConfirm, Established. " * 6),
    ],
    "val": [("bgp-3", "bgp", "What is an AS?", "", "  A network under one policy.")],
    "test": [("pkt-2", "pkt", "Which port has BGP?", "", "179")],
}


def records(side: str) -> list[Row]:
    keys = ("id", "family", "instruction", "input", "output")
    return [dict(zip(keys, row, strict=True)) | {"source": "generated"} for row in ROWS[side]]


@pytest.fixture
def splits(workdir: Path, tiny_tokenizer: Any) -> Path:
    """The workdir with the three splits and the tiny tokenizer."""
    tiny_tokenizer.save_pretrained(workdir / "models" / "tokenizer")
    for side, path in tokenize.SPLITS.items():
        write_jsonl(path, records(side))
    return workdir


def tokenized(side: str) -> list[Row]:
    return pq.read_table(tokenize.TOKENIZED[side]).to_pylist()


def expected_parts(row: Row) -> tuple[str, str]:
    """Prompt and answer in the template of the tiny tokenizer, written out by hand."""
    asked = row["instruction"] + ("\n\n" + row["input"] if row["input"] else "")
    return f"<|start|>user\n{asked}<|end|>\n<|start|>assistant\n", f"{row['output'].strip()}<|end|>"


def test_the_loss_covers_the_answer_and_its_end_and_nothing_else(splits: Path, tiny_tokenizer: Any) -> None:
    tokenize.main()
    for side in ROWS:
        rows = tokenized(side)
        assert [row["id"] for row in rows] == [record["id"] for record in records(side)]
        for row, record in zip(rows, records(side), strict=True):
            prompt, answer = expected_parts(record)
            assert row["input_ids"] == tiny_tokenizer(prompt + answer, add_special_tokens=False)["input_ids"]
            assert tiny_tokenizer.decode(row["input_ids"][: row["loss_start"]]) == prompt
            assert tiny_tokenizer.decode(row["input_ids"][row["loss_start"] :]) == answer
            assert row["loss_start"] == row["answer_start"]
            assert row["length"] == len(row["input_ids"])
            assert (row["family"], row["source"]) == (record["family"], record["source"])


@pytest.mark.parametrize("template", ["chat", "alpaca"])
def test_the_end_of_sequence_is_trained_in_every_row(
    splits: Path, set_params: Callable[..., None], tiny_tokenizer: Any, template: str
) -> None:
    set_params(**{"tokenize.template": template})
    tokenize.main()
    for row in (row for side in ROWS for row in tokenized(side)):
        assert row["input_ids"][-1] == tiny_tokenizer.eos_token_id
        assert 0 < row["loss_start"] < row["length"] - 1


def test_with_train_on_prompt_the_loss_covers_all_but_the_measure_only_the_answer(
    splits: Path, set_params: Callable[..., None]
) -> None:
    tokenize.main()
    starts = [row["answer_start"] for row in tokenized("train")]
    set_params(**{"tokenize.train_on_prompt": True})
    tokenize.main()
    assert [row["loss_start"] for row in tokenized("train")] == [0, 0, 0]
    assert [row["answer_start"] for row in tokenized("train")] == starts


def test_a_system_prompt_reaches_the_ids(splits: Path, set_params: Callable[..., None], tiny_tokenizer: Any) -> None:
    set_params(**{"tokenize.system_prompt": "You know BGP."})
    tokenize.main()
    text = tiny_tokenizer.decode(tokenized("test")[0]["input_ids"])
    assert text.startswith("<|start|>system\nYou know BGP.<|end|>\n<|start|>user\n")


def test_rows_over_the_limit_are_dropped_whole_and_counted(
    splits: Path, set_params: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    tokenize.main()
    before = tokenized("train")
    lengths = [row["length"] for row in before]
    assert max(lengths) == lengths[2]
    capsys.readouterr()
    set_params(**{"tokenize.max_length": max(lengths) - 1})
    tokenize.main()
    assert tokenized("train") == before[:2]
    metrics = read_json(tokenize.METRICS)["train"]
    assert metrics == {
        "rows": 2,
        "dropped_too_long": 1,
        "tokens": sum(lengths[:2]),
        "answer_tokens": sum(row["length"] - row["answer_start"] for row in before[:2]),
        "longest": max(lengths[:2]),
    }
    assert "train: 2 rows, 1 over max_length dropped" in capsys.readouterr().out


def test_a_row_of_exactly_the_limit_stays(splits: Path, set_params: Callable[..., None]) -> None:
    tokenize.main()
    longest = max(row["length"] for row in tokenized("train"))
    set_params(**{"tokenize.max_length": longest})
    tokenize.main()
    assert len(tokenized("train")) == 3


def test_a_limit_that_no_row_fits_says_how_short_the_shortest_is(splits: Path, set_params: Callable[..., None]) -> None:
    tokenize.main()
    shortest = min(row["length"] for row in tokenized("train"))
    set_params(**{"tokenize.max_length": 5})
    with pytest.raises(StageError, match=rf"^tokenize\.max_length 5: no train row fits, the shortest has {shortest}$"):
        tokenize.main()


def test_an_empty_side_is_an_empty_table(splits: Path) -> None:
    tokenize.SPLITS["val"].write_text("")
    tokenize.main()
    assert tokenized("val") == []
    assert read_json(tokenize.METRICS)["val"]["rows"] == 0


def test_two_runs_write_the_same_bytes(splits: Path) -> None:
    paths = [*tokenize.TOKENIZED.values(), tokenize.PREVIEW, tokenize.METRICS]
    tokenize.main()
    first = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    tokenize.main()
    assert [path.read_bytes() for path in paths] == first


def test_the_preview_shows_both_parts_of_one_row_a_family_in_the_order_of_the_file(splits: Path) -> None:
    tokenize.main()
    preview = tokenize.PREVIEW.read_text(encoding="utf-8")
    assert [line for line in preview.splitlines() if line.startswith("## ")] == [
        f"## {row['id']}: {row['length']} tokens, loss on the last {row['length'] - row['loss_start']}"
        for row in tokenized("train")[:2]
    ]
    for record in records("train")[:2]:
        prompt, answer = expected_parts(record)
        assert f"### read only\n\n````text\n{prompt}\n````\n\n### trained on\n\n````text\n{answer}\n````\n" in preview


def test_the_preview_of_a_run_that_trains_on_the_prompt_has_nothing_that_is_only_read(
    splits: Path, set_params: Callable[..., None]
) -> None:
    set_params(**{"tokenize.train_on_prompt": True})
    tokenize.main()
    preview = tokenize.PREVIEW.read_text(encoding="utf-8")
    assert "### read only" not in preview
    assert preview.count("### trained on") == 2


def test_an_answer_that_merges_with_the_prompt_names_its_row(
    splits: Path, set_params: Callable[..., None], tiny_tokenizer: Any
) -> None:
    # As if the vocabulary had one token for the line feed that ends the prompt and the A that begins an answer.
    path = splits / "models" / "tokenizer" / "tokenizer.json"
    backend = json.loads(path.read_text(encoding="utf-8"))
    backend["model"]["vocab"]["ĊA"] = len(tiny_tokenizer)
    backend["model"]["merges"].insert(0, ["Ċ", "A"])
    backend["pre_tokenizer"]["use_regex"] = False
    path.write_text(json.dumps(backend), encoding="utf-8")
    with pytest.raises(StageError, match=r"^row bgp-1: the tokenizer merges the end of the prompt with the start"):
        tokenize.main()
    assert not tokenize.TOKENIZED["train"].exists()


def test_a_bad_row_of_a_split_is_named(splits: Path) -> None:
    write_jsonl(tokenize.SPLITS["val"], [*records("val"), records("val")[0] | {"output": ""}])
    with pytest.raises(StageError, match=r"^data/splits/val\.jsonl:2: output: empty$"):
        tokenize.main()


def test_a_missing_split_is_named(splits: Path) -> None:
    tokenize.SPLITS["train"].unlink()
    with pytest.raises(StageError, match=r"^data/splits/train\.jsonl: no such file"):
        tokenize.main()
