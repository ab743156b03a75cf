"""The examples in the pages are real: tasks, answers and tokens of the committed data and of the run in dvc.lock."""

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from netllama.core.files import read_jsonl
from tests.support.clones import ROOT
from tests.support.pages import list_blocks, read_page, read_section

README, GENERATING = ROOT / "README.md", ROOT / "docs" / "generating.md"
EXAMPLE = read_section(README, "One task, before and after")
CUT = "[…]"


def find_row(path: Path, row_id: str) -> dict[str, Any]:
    return next(row for row in read_jsonl(path) if row["id"] == row_id)


def find_out(name: str) -> Path:
    """An out of the DAG; the test is skipped where there is none, or one of another run than dvc.lock records."""
    stages = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    recorded = next(out["md5"] for stage in stages.values() for out in stage["outs"] if out["path"] == name)
    path = ROOT / name
    if not path.exists() or hashlib.md5(path.read_bytes()).hexdigest() != recorded:
        pytest.skip(f"{name} is not there as dvc.lock records it; run `dvc repro`")
    return path


def seed_id() -> str:
    found = re.search(r"`([\w-]+)`", EXAMPLE)
    assert found
    return found[1]


def read_columns() -> tuple[list[str], list[str]]:
    """The lines of the base's and of the tuned model's answer, without blank ones."""
    lines = [line.split("│") for line in list_blocks(README, "text")[0].splitlines() if "│" in line]
    (base, tuned), *rest = [(left.rstrip(), right.removeprefix(" ").rstrip()) for left, right in lines]
    assert (base, tuned) == ("base model", "tuned model")
    return [left for left, _ in rest if left], [right for _, right in rest if right]


def assert_quoted(lines: list[str], text: str) -> None:
    """Every line is one of the text, in its order; a line may be cut, and whole lines may be left out, with CUT."""
    place = 0
    for line in lines:
        shown = line.removesuffix(CUT).rstrip() if line.endswith(CUT) else line
        if shown:
            place = text.find(shown, place)
            assert place >= 0, f"{line!r} is not in the text, or not in this order"


def test_the_seed_task_is_that_of_the_data() -> None:
    folder, name = re.findall(r"\]\((data/seeds/)(\w+\.jsonl)\)", EXAMPLE)[0]
    seed = find_row(ROOT / folder / name, seed_id())
    quoted = re.findall(r"^> (.*)$", EXAMPLE, re.MULTILINE)
    assert " ".join(quoted) == seed["instruction"]
    above = list_blocks(README, "text")[0].split("\n\n")[0].removeprefix("expert's answer")
    expert = [line.strip() for line in above.splitlines()]
    assert_quoted(expert, seed["output"])


def test_the_picture_counts_the_seed_tasks() -> None:
    seeds = [row for path in (ROOT / "data/seeds").glob("*.jsonl") for row in read_jsonl(path)]
    assert re.findall(r'"(\d+) seed tasks"', list_blocks(README, "mermaid")[0]) == [str(len(seeds))]


@pytest.mark.parametrize(("side", "name"), [(0, "base"), (1, "tuned")])
def test_the_answers_are_those_of_the_run(side: int, name: str) -> None:
    rows = [row for row in read_jsonl(find_out(f"results/{name}.jsonl")) if row["kind"] == "generation"]
    rows = [row for row in rows if row["item"] == seed_id()]
    assert len(rows) == 1
    assert_quoted(read_columns()[side], rows[0]["answer"])


def test_the_task_was_not_trained_on() -> None:
    assert find_row(find_out("data/splits/test.jsonl"), seed_id())


def test_the_tokens_with_the_loss_mask_are_those_of_the_task() -> None:
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(find_out("data/tokenized/test.parquet")).to_pylist()
    row = next(row for row in rows if row["id"] == seed_id())
    read, trained = re.findall(r"(\d+) tokens", list_blocks(README, "text")[1])
    assert (int(read), int(trained)) == (row["loss_start"], len(row["input_ids"]) - row["loss_start"])


def test_the_generated_tasks_are_those_of_the_recorded_answers() -> None:
    """Ids are family, round, slot and task; the draw of a recorded answer is family/round/slot."""
    answers = {row["draw"]: row["text"] for row in read_jsonl(ROOT / "data/recorded/responses.jsonl")}
    family, number, slot, _ = re.findall(r"`(\w+)-r(\d+)-s(\d+)-t(\d+)`", read_page(GENERATING))[0]
    for part in list_blocks(GENERATING, "text")[0].split("\n\n", 1):
        assert part.strip() in answers[f"{family}/{int(number)}/{int(slot)}"]


def test_the_generated_tasks_became_what_the_page_says() -> None:
    kept, rejected = re.findall(r"`(\w+-r\d+-s\d+-t\d+)`", read_page(GENERATING))
    instruction, code = list_blocks(GENERATING, "text")[0].split("\n\n", 1)
    row = find_row(find_out("data/generated/instructions.jsonl"), kept)
    assert (row["instruction"], row["output"].partition("\n```\n")[0] + "\n```") == (instruction, code.strip())
    run = next(one for one in read_jsonl(find_out("data/generated/runs.jsonl")) if one["key"] == row["code_run"])
    assert run["finding"] == "holds"
    row = find_row(find_out("data/generated/rejected.jsonl"), rejected)
    assert row["reason"] == "runs"
    assert f'"{row["fault"]}"' in read_page(GENERATING)
