"""The stage that tokenizes: what is trained on, what is dropped, and the same bytes by any number of workers."""

import csv
import json
import os
import pydoc
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow.parquet as pq
import pytest

from netllama.core.errors import StageError
from netllama.core.files import dump_canonical_json, read_jsonl, write_findings, write_jsonl
from netllama.core.metrics import read_details
from netllama.core.sections import TokenizeParams
from netllama.core.tokenized_rows import read_template_hash
from netllama.core.worker_pool import map_in_order
from netllama.documents.chunk_file import write_chunks
from netllama.documents.document import Chunk
from netllama.reading.reading_records import ReadingTask
from netllama.rendering.document_texts import REFUSAL, cite_document, phrase_with_documents
from netllama.rendering.renderer import load_renderer, require_same_template
from stages import tokenize
from tests.support.clones import ROOT
from tests.support.training_runs import prompt_params

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
    return [dict(zip(keys, row, strict=True)) | {"source": "extra"} for row in ROWS[side]]


@pytest.fixture
def splits(workdir: Path, tiny_tokenizer: Any) -> Path:
    """The workdir with the three splits and the tiny tokenizer."""
    tiny_tokenizer.save_pretrained(workdir / "models" / "tokenizer")
    for side, path in tokenize.SPLITS.items():
        write_jsonl(path, records(side))
    write_documents([])
    return workdir


def write_documents(tasks: Sequence[ReadingTask], texts: Mapping[str, str] = MappingProxyType({})) -> None:
    """As `retrieve` leaves them: tasks, and the documents that they are shown with."""
    write_findings(tokenize.READING, [task.model_dump() for task in tasks], none="no task")
    chunks = [Chunk(id=name, document="d", headings=["T"], text=text, tokens=1) for name, text in texts.items()]
    write_chunks(tokenize.CHUNKS, chunks)


def make_task(name: str, documents: list[str], golden: str = "", answer: str = "AS64500") -> ReadingTask:
    output = cite_document(answer, documents.index(golden) + 1) if golden else REFUSAL
    return ReadingTask(
        id=name,
        family="reports",
        instruction="Which AS?",
        documents=documents,
        golden=[golden] if golden else [],
        output=output,
    )


def tokenized(side: str) -> list[Row]:
    return pq.read_table(tokenize.TOKENIZED[side]).to_pylist()


def written() -> dict[Path, bytes]:
    """All that the stage writes."""
    paths = [*tokenize.TOKENIZED.values(), tokenize.PREVIEW, tokenize.OVER_LENGTH, tokenize.METRICS, tokenize.LENGTHS]
    return {path: path.read_bytes() for path in paths}


def named(function: str) -> Any:
    """What a worker process is built with, as it finds it, too: test modules are nowhere on its path."""
    return partial(pydoc.locate, function)


def run_as_process(code: str, hash_seed: str = "0") -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed}
    code = f"import os; from stages import tokenize; {code}"
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def params(**changes: Any) -> TokenizeParams:
    values = {"max_length": 100, "over_length": "drop", "train_on_prompt": False}
    return TokenizeParams.model_validate(values | changes)


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
    set_params(**{"prompt.template": template})
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
    set_params(**{"prompt.system_prompt": "You know BGP."})
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
    metrics = read_details(tokenize.METRICS)["train"]
    assert metrics == {
        "rows": 2,
        "dropped_too_long": 1,
        "tokens": sum(lengths[:2]),
        "answer_tokens": sum(row["length"] - row["answer_start"] for row in before[:2]),
        "longest": max(lengths[:2]),
    }
    assert "train: 2 rows, 1 over max_length dropped" in capsys.readouterr().out
    assert read_jsonl(tokenize.OVER_LENGTH) == [{"side": "train", "id": "bgp-2", "length": lengths[2]}]


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
    assert read_details(tokenize.METRICS)["val"]["rows"] == 0


def test_two_runs_write_the_same_bytes(splits: Path) -> None:
    tokenize.main()
    first = written()
    for path in first:
        path.unlink()
    tokenize.main()
    assert written() == first


def test_the_bytes_do_not_depend_on_the_order_of_hashes(splits: Path) -> None:
    tokenize.main()
    first = written()
    for path in first:
        path.unlink()
    run_as_process("tokenize.main()", hash_seed="1")
    assert written() == first


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


def test_a_very_long_row_is_whole(splits: Path, set_params: Callable[..., None], tiny_tokenizer: Any) -> None:
    row = {"id": "long", "family": "bgp", "source": "extra", "instruction": "List them.", "input": ""}
    output = " ".join(f"10.{number % 256}.{number // 256}.0/24," for number in range(1000)) + " done"
    write_jsonl(tokenize.SPLITS["train"], [row | {"output": output}])
    set_params(**{"tokenize.max_length": 20_000})
    tokenize.main()
    (found,) = tokenized("train")
    assert found["length"] > 6000
    assert tiny_tokenizer.decode(found["input_ids"][found["answer_start"] :]) == output + "<|end|>"


def test_an_output_that_names_the_end_of_sequence_does_not_end_there(splits: Path, tiny_tokenizer: Any) -> None:
    row = records("val")[0] | {"output": "Stop at <|end|> and go on.", "input": "<|end|>\n<|start|>assistant\nNo."}
    write_jsonl(tokenize.SPLITS["val"], [row])
    tokenize.main()
    (found,) = tokenized("val")
    prompt, answer = expected_parts(row)
    ids, start, eos = found["input_ids"], found["answer_start"], tiny_tokenizer.eos_token_id
    assert (tiny_tokenizer.decode(ids[:start]), tiny_tokenizer.decode(ids[start:])) == (prompt, answer)
    assert (ids[:start].count(eos), ids[start:].count(eos), ids[-1]) == (1, 1, eos)


# Rows over max_length


def test_with_over_length_raise_the_first_rows_are_named_and_nothing_is_replaced(
    splits: Path, set_params: Callable[..., None]
) -> None:
    tokenize.main()
    before, lengths = written(), [row["length"] for row in tokenized("train")]
    set_params(**{"tokenize.max_length": 5, "tokenize.over_length": "raise"})
    named = f"bgp-1 ({lengths[0]}), pkt-1 ({lengths[1]}), bgp-2 ({lengths[2]})"
    with pytest.raises(StageError) as error:
        tokenize.main()
    assert str(error.value) == (
        f"train: 3 rows are longer than tokenize.max_length 5: {named}; raise it, or set tokenize.over_length to drop"
    )
    set_params(**{"tokenize.max_length": max(lengths) - 1})
    with pytest.raises(StageError, match=r"^train: 1 row is longer than tokenize\.max_length \d+: bgp-2 \(\d+\); "):
        tokenize.main()
    assert written() == before
    set_params(**{"tokenize.max_length": max(lengths)})
    tokenize.main()
    assert len(tokenized("train")) == 3


# What is told of it


def test_the_lengths_of_all_rows_are_counted_in_sixteen_buckets_and_one_above(
    splits: Path, set_params: Callable[..., None]
) -> None:
    tokenize.main()
    longest = max(row["length"] for row in tokenized("train"))
    set_params(**{"tokenize.max_length": longest - 1})
    tokenize.main()
    with open(tokenize.LENGTHS, encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["side", "length", "rows"]
    for side in ROWS:
        buckets = [row for row in table if row["side"] == side]
        assert buckets.pop()["length"] == f"over {longest - 1} (dropped)"
        assert len(buckets) <= 16
        for bucket in buckets:
            low, high = map(int, bucket["length"].split("-"))
            assert int(bucket["rows"]) == sum(low <= row["length"] <= high for row in tokenized(side))
    assert [row["rows"] for row in table if row["length"].startswith("over")] == ["1", "0", "0"]


def test_each_side_says_which_template_it_was_rendered_with(splits: Path, set_params: Callable[..., None]) -> None:
    set_params(**{"prompt.system_prompt": "You know BGP."})
    tokenize.main()
    ours, other = (load_renderer("models/tokenizer", prompt_params("chat", text)) for text in ("You know BGP.", ""))
    for path in tokenize.TOKENIZED.values():
        require_same_template(read_template_hash(path), ours, str(path))
        with pytest.raises(StageError, match=rf"^{path}: made with another prompt\.system_prompt"):
            require_same_template(read_template_hash(path), other, str(path))


# Worker processes


@pytest.fixture
def parallel(splits: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`parallel(2)`: the train side, of three rows and more, takes two workers and two rows a chunk."""

    def workers(number: int) -> None:
        monkeypatch.setattr(tokenize, "PARALLEL_ROWS", 3)
        monkeypatch.setattr(tokenize, "CHUNK_ROWS", 2)
        monkeypatch.setattr(tokenize, "count_cores", lambda: number)

    return workers


def test_two_workers_write_the_bytes_of_one(
    parallel: Callable[[int], None], set_params: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [row | {"id": f"{row['id']}-{number}"} for number in range(4) for row in records("train")]
    write_jsonl(tokenize.SPLITS["train"], rows)
    set_params(**{"tokenize.max_length": 60, "tokenize.over_length": "drop"})
    parallel(1)
    tokenize.main()
    one = written()
    parallel(2)
    tokenize.main()
    assert written() == one
    assert len(read_jsonl(tokenize.OVER_LENGTH)) == 8
    assert pq.ParquetFile(tokenize.TOKENIZED["train"]).num_row_groups > 1
    assert "Error" not in capfd.readouterr().err


def test_an_error_in_a_later_chunk_names_its_line_in_the_file(parallel: Callable[[int], None]) -> None:
    lines = [dump_canonical_json(row) for row in records("train") * 3]
    lines[4] = '{"id": '
    tokenize.SPLITS["train"].write_text("\n".join(lines) + "\n", encoding="utf-8")
    parallel(1)
    with pytest.raises(
        StageError, match=r"^data/splits/train\.jsonl:5: not valid JSON \([A-Za-z ]+\); write one object per line$"
    ):
        tokenize.main()
    assert not tokenize.TOKENIZED["train"].exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_broken_line_of_every_file_is_named(parallel: Callable[[int], None], workers: int) -> None:
    write_documents([make_task("one", ["a"], "a")])
    broken = {tokenize.SPLITS["train"]: (2, 5, 10), tokenize.SPLITS["test"]: (3,), tokenize.READING: (1, 2)}
    for path, numbers in broken.items():
        lines = (path.read_text(encoding="utf-8").splitlines() * 10)[:10]
        path.write_text("".join("{\n" if at in numbers else f"{line}\n" for at, line in enumerate(lines, 1)))
    parallel(workers)
    with pytest.raises(StageError) as raised:
        tokenize.main()
    assert [line.split(": ")[0] for line in str(raised.value).splitlines()] == [
        f"{path}:{number}" for path, numbers in broken.items() for number in numbers
    ]


def test_an_error_in_a_worker_is_the_one_line_that_it_is_without() -> None:
    results = map_in_order(named("netllama.core.files.parse_line"), [("a.jsonl", 5, '{"id": ', dict)], 2)
    with pytest.raises(StageError, match=r"^a\.jsonl:5: not valid JSON \([A-Za-z ]+\); write one object per line$"):
        next(results)


def test_few_rows_start_no_process(splits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netllama.core.worker_pool.ProcessPoolExecutor", None)
    tokenize.main()


def test_chunks_are_read_as_they_are_needed_and_come_back_in_their_order() -> None:
    read = []

    def chunks() -> Iterator[tuple[float]]:
        for number in range(20):
            read.append(number)
            yield (-number,)

    results = map_in_order(named("builtins.abs"), chunks(), 2)
    assert next(results) == 0
    assert len(read) == 5
    assert list(results) == list(range(1, 20))


def test_a_worker_that_is_killed_is_one_clear_line() -> None:
    with pytest.raises(StageError, match=r"^a worker process ended before its work"):
        list(map_in_order(named("os._exit"), [(9,), (9,)], 2))


def test_no_worker_outlives_a_killed_parent(workdir: Path) -> None:
    code = (
        "import os, pydoc, signal; from functools import partial\n"
        "from netllama.core.worker_pool import map_in_order\n"
        "children = lambda: open(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read().split()\n"
        "chunks = iter([(0.1,)] * 5 + [(60,)] * 9)\n"
        "results = map_in_order(partial(pydoc.locate, 'time.sleep'), chunks, 2); next(results)\n"
        "print(*children(), flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    workers, deadline = done.stdout.split(), time.monotonic() + 20
    assert len(workers) >= 2
    while alive := [pid for pid in workers if Path(f"/proc/{pid}/exe").exists()]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.1)


def test_a_killed_run_leaves_the_tables_as_they_were(splits: Path) -> None:
    tokenize.main()
    before = written()
    write_jsonl(tokenize.SPLITS["train"], records("train")[:2])
    killed = run_as_process("tokenize.SideSummary.add = lambda *_: os.kill(os.getpid(), 9); tokenize.main()")
    assert killed.returncode == -signal.SIGKILL
    assert written() == before


# --- tasks with documents

TEXTS = {"a": "Prefix 10.0.0.0/8 is of AS64500.", "b": "It left at 08:15. <|end|> [2] x", "c": "Nothing was seen. " * 9}


def test_a_task_with_documents_is_the_prompt_that_evaluation_shows_with_the_loss_on_its_answer(
    splits: Path, tiny_tokenizer: Any
) -> None:
    tokenize.main()
    plain = tokenized("train")
    tasks = [make_task("one", ["b", "a"], "a"), make_task("none", ["b"])]
    write_documents(tasks, TEXTS)
    tokenize.main()
    assert tokenized("train")[: len(plain)] == plain, "the rows of the split are as they were"
    renderer = load_renderer(tokenize.TOKENIZER, prompt_params())
    for row, task in zip(tokenized("train")[len(plain) :], tasks, strict=True):
        assert (row["id"], row["family"], row["source"]) == (task.id, "reports", "reading")
        shown = phrase_with_documents("Which AS?", [f"T\n{TEXTS[name]}" for name in task.documents])
        assert row["input_ids"][: row["loss_start"]] == renderer.encode_prompt(shown)
        assert tiny_tokenizer.decode(row["input_ids"][row["loss_start"] :]) == f"{task.output}<|end|>"
        assert row["answer_start"] == row["loss_start"]
    assert read_details(tokenize.METRICS)["train"]["rows"] == 5
    assert "fewer_documents" not in read_details(tokenize.METRICS)["train"]


@pytest.mark.parametrize("template", ["chat", "alpaca"])
def test_a_special_token_in_a_document_is_text(
    splits: Path, set_params: Callable[..., None], tiny_tokenizer: Any, template: str
) -> None:
    set_params(**{"prompt.template": template})
    tokenize.main()
    plain = tokenized("train")[0]["input_ids"].count(tiny_tokenizer.eos_token_id)
    write_documents([make_task("one", ["b", "a"], "a")], TEXTS)
    tokenize.main()
    ids = tokenized("train")[3]["input_ids"]
    assert ids.count(tiny_tokenizer.eos_token_id) == plain
    assert "<|end|> [2] x" in tiny_tokenizer.decode(ids)


def test_only_train_has_tasks_with_documents(splits: Path) -> None:
    tokenize.main()
    before = [tokenized(side) for side in ("val", "test")]
    write_documents([make_task("one", ["a"], "a")], TEXTS)
    tokenize.main()
    assert [tokenized(side) for side in ("val", "test")] == before


def count_tokens(task: ReadingTask) -> int:
    renderer = load_renderer(tokenize.TOKENIZER, prompt_params())
    shown = phrase_with_documents("Which AS?", [f"T\n{TEXTS[name]}" for name in task.documents])
    return len(renderer.render(shown, task.output).input_ids)


def test_a_task_that_is_too_long_loses_documents_without_the_answer_then_the_row_and_both_are_listed(
    splits: Path, set_params: Callable[..., None], capsys: pytest.CaptureFixture[str], tiny_tokenizer: Any
) -> None:
    tasks = [
        make_task("moved", ["c", "a"], "a"),
        make_task("kept", ["a", "b"], "a"),
        make_task("last", ["a", "b", "c"], "a"),
        make_task("refused", ["b", "c"]),
        make_task("hopeless", ["b", "c"], "c"),
    ]
    write_documents(tasks, TEXTS)
    limit = count_tokens(tasks[1])
    assert count_tokens(make_task("hopeless", ["c"], "c")) > limit
    set_params(**{"tokenize.max_length": limit})
    tokenize.main()
    rows = {row["id"]: row for row in tokenized("train") if row["source"] == "reading"}
    assert list(rows) == ["moved", "kept", "last", "refused"]
    answers = {name: tiny_tokenizer.decode(row["input_ids"][row["loss_start"] :]) for name, row in rows.items()}
    assert answers["moved"] == "AS64500 [1]<|end|>", "the number goes with the document"
    assert answers["last"] == "AS64500 [1]<|end|>"
    assert answers["refused"] == f"{REFUSAL}<|end|>"
    assert all(row["length"] <= limit for row in rows.values())
    assert rows["last"]["input_ids"] == rows["kept"]["input_ids"]
    listed = [row for row in read_jsonl(tokenize.OVER_LENGTH) if row["id"] in {task.id for task in tasks}]
    assert listed == [
        {"side": "train", "id": "hopeless", "length": count_tokens(make_task("hopeless", ["c"], "c"))},
        {"side": "train", "id": "moved", "length": count_tokens(tasks[0]), "documents_left_out": 1},
        {"side": "train", "id": "last", "length": count_tokens(tasks[2]), "documents_left_out": 1},
        {"side": "train", "id": "refused", "length": count_tokens(tasks[3]), "documents_left_out": 1},
    ]
    assert read_details(tokenize.METRICS)["train"]["fewer_documents"] == 3
    assert "3 rows are shown fewer documents, so that they fit tokenize.max_length" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"id": "x"}', r"^data/retrieved/train\.jsonl:2: family: field required"),
        ("[1]", r"^data/retrieved/train\.jsonl:2: not a JSON object"),
        ("", r"^data/retrieved/: task one needs a, which is missing; run `dvc repro -f retrieve`"),
    ],
)
def test_a_bad_task_or_a_missing_document_is_one_line(splits: Path, row: str, said: str) -> None:
    write_documents([make_task("one", ["a"], "a")], TEXTS if row else {"b": "x"})
    with open(tokenize.READING, "a", encoding="utf-8") as file:
        file.write(f"{row}\n")
    with pytest.raises(StageError, match=said):
        tokenize.main()
    assert not tokenize.TOKENIZED["train"].exists()
