"""Somebody else's 1,500 rows, with all that is wrong in them, through split, tokenize and 20 steps of training.

Nobody lays a hand on them in between. One run, and then each test looks at what it left. What was planted is known from
`write_foreign`; lengths, ends and counts are worked out here anew, without the stages.
"""

import contextlib
import csv
import io
import json
import math
import re
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file

from netllama.core.files import write_findings, write_json, write_jsonl
from netllama.core.metrics import read_details
from netllama.models.model_reference import resolve_model
from stages import split, tokenize, train
from tests.support.clones import ROOT
from tests.support.foreign_rows import FAULTS, KEPT, LINE_FAULTS, Truth, write_foreign

Row = dict[str, Any]
FILE = Path("data/extra/foreign.jsonl")
ROWS = 1500
STEPS = 20


@dataclass(frozen=True)
class Ran:
    """What a run left in `folder`, what was planted in its file, and what each stage printed."""

    folder: Path
    truth: Truth
    said: dict[str, str]
    params: dict[str, Row]

    def listed(self, path: Path) -> list[Row]:
        """The rows of a file, but for the one that says that there are none."""
        rows = [json.loads(line) for line in (self.folder / path).read_text(encoding="utf-8").splitlines()]
        return [row for row in rows if list(row) != ["none"]]

    def details(self, path: Path) -> Any:
        return read_details(self.folder / path)

    def tokenized(self, side: str) -> list[Row]:
        rows: list[Row] = pq.read_table(self.folder / tokenize.TOKENIZED[side]).to_pylist()
        return rows

    def lines(self) -> dict[int, bytes]:
        """Those of the foreign file that hold something, by their number."""
        text = (self.folder / FILE).read_bytes().removeprefix(b"\xef\xbb\xbf")
        return {number: line for number, line in enumerate(text.split(b"\n"), start=1) if line.strip()}


@pytest.fixture(scope="module")
def ran(tiny_model_folder: Path, tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """As shipped, but for the tiny model in fp32 and 20 steps."""
    folder = tmp_path_factory.mktemp("foreign")
    shutil.copytree(ROOT / "data" / "seeds", folder / "data" / "seeds")
    shutil.copytree(ROOT / "data" / "questions", folder / "data" / "questions")
    shutil.copytree(tiny_model_folder, folder / "tiny")
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["model"] |= {"id": "tiny", "revision": ""}
    params["loading"] |= {"precision": "fp32"}
    params["split"]["extra"] = [FILE.name]
    params["train"] |= {"max_steps": STEPS}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    truth, said = write_foreign(folder / FILE, ROWS, 1), {}
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("DVC_ROOT", raising=False)
        write_jsonl(split.GENERATED, [])
        write_findings(tokenize.READING, [], none="no task has documents")
        write_json(train.BASE, resolve_model("tiny", "").reference.model_dump())
        tiny_tokenizer.save_pretrained(tokenize.TOKENIZER)
        if state := sys.modules.get("accelerate.state"):  # of the tests before: a fixture of a module comes first
            state.AcceleratorState._reset_state()
        torch.set_num_threads(1)
        for stage in (split, tokenize, train):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                stage.main()
            said[stage.__name__.partition(".")[2]] = out.getvalue()
        torch.set_num_threads(threads)
    return Ran(folder, truth, said, params)


# --- split


def test_every_bad_row_is_listed_with_its_reason_its_file_and_its_line(ran: Ran) -> None:
    drops = ran.listed(split.DROPPED)
    assert {(drop["file"], drop["line"], drop["reason"]) for drop in drops} == {
        (FILE.as_posix(), number, reason) for number, reason in ran.truth.reasons.items()
    }
    assert len(drops) == len(ran.truth.reasons)
    assert set(ran.truth.kinds.values()) == {*KEPT, *FAULTS, *LINE_FAULTS, "truncated"}, "each is in the file"


def test_at_the_line_that_is_named_stands_what_the_reason_says(ran: Ran) -> None:
    lines = ran.lines()
    kept = {row["id"]: row["instruction"] for path in split.SPLITS.values() for row in ran.listed(path)}
    asked = {row["id"] for path in (ran.folder / "data" / "questions").glob("*.jsonl") for row in ran.listed(path)}
    for drop in ran.listed(split.DROPPED):
        line, reason = lines[drop["line"]], drop["reason"]
        if reason == "not_utf8":
            with pytest.raises(UnicodeDecodeError):
                line.decode("utf-8")
        elif reason == "not_json":
            with pytest.raises(json.JSONDecodeError):
                json.loads(line)
        elif reason == "not_an_object":
            assert not isinstance(json.loads(line), dict)
        elif reason in ("no_output", "no_instruction"):
            value = json.loads(line).get(reason.removeprefix("no_"))
            assert value is None or not value.strip("\u200b \n")
        elif reason == "nul":
            assert b"\\u0000" in line
        elif reason == "half_surrogate":
            assert b"\\ud83d cut" in line
        elif reason == "wrong_type":
            row = json.loads(line)
            assert not all(isinstance(row[name], str) for name in ("instruction", "input", "output"))
        elif reason == "exact_duplicate":
            assert kept[drop["of"][0]] == ran.truth.instructions[ran.truth.originals[drop["line"]]]
        elif reason == "near_question":
            assert drop["of"][0] in asked
        else:
            assert reason == "prompt_leakage"


def test_what_is_kept_and_what_is_dropped_is_what_was_in_the_file_and_the_seeds(ran: Ran) -> None:
    kept = [row for path in split.SPLITS.values() for row in ran.listed(path)]
    dropped = ran.listed(split.DROPPED)
    seeds = [row for family in ran.params["families"] for row in ran.listed(Path("data/seeds") / f"{family}.jsonl")]
    assert len(ran.lines()) == ROWS + 1, "and the one that was cut off"
    assert len(kept) + len(dropped) == len(ran.lines()) + len(seeds)
    assert {row["id"] for row in kept if row["source"] == "seed"} == {row["id"] for row in seeds}
    foreign = Counter(row["instruction"] for row in kept if row["source"] == "extra")
    assert foreign == Counter(ran.truth.instructions.values())
    assert len({row["id"] for row in kept}) == len(kept)
    metrics = ran.details(split.METRICS)
    assert sum(metrics["rows"].values()) == len(kept)
    assert metrics["dropped"] == Counter(drop["reason"] for drop in dropped)


def test_val_test_and_questions_are_not_found_in_train(ran: Ran) -> None:
    metrics = ran.details(split.METRICS)
    report, limit = metrics["leakage"], ran.params["split"]["max_leakage"]
    assert set(report) == {"val", "test", "questions"}
    for numbers in report.values():
        assert set(numbers) == {"exact", "near", "ngram", "max_similarity", "leaked", "share"}
        assert numbers["share"] <= limit
        assert 0 < numbers["max_similarity"] < ran.params["split"]["near_duplicate_threshold"]
    leaks = Counter(leak["side"] for leak in ran.listed(split.LEAKAGE))
    assert leaks.pop("seeds", 0) == metrics["seeds_near_questions"]
    assert {side for side, numbers in report.items() if numbers["leaked"]} == set(leaks)

    def plain(text: str) -> str:
        return " ".join(re.findall(r"\w+", text.lower()))

    trained = " | ".join(
        plain(f"{row['instruction']} {row['input']} {row['output']}") for row in ran.listed(split.SPLITS["train"])
    )
    for path in (ran.folder / "data" / "questions").glob("*.jsonl"):
        for question in ran.listed(path):
            if len(question["question"].split()) > 10:
                assert plain(question["question"]) not in trained, question["id"]


def test_it_is_told_how_many_rows_were_dropped_and_in_words_why(ran: Ran) -> None:
    told, *examples, near = ran.said["split"].splitlines()[:-1]
    planted = Counter(ran.truth.reasons.values())
    number, reasons = re.fullmatch(r"dropped (\d+) rows: (.*); all in data/splits/dropped\.jsonl", told).groups()  # type: ignore[union-attr]
    assert int(number) == planted.total()
    assert {reason: int(count) for count, reason in (part.split() for part in reasons.split(", "))} == planted
    words = {
        "not_json": "not valid JSON (",
        "not_utf8": "not UTF-8 at byte ",
        "not_an_object": "expected an object with instruction, input, output, not ",
        "wrong_type": ": expected a text, not ",
        "no_instruction": "instruction: ",
        "no_output": "output: ",
        "half_surrogate": ": half a surrogate pair ",
        "nul": ": contains a NUL character",
        "prompt_leakage": " is markup of a prompt",
        "exact_duplicate": "the same text as foreign-",
        "near_question": "evaluation question q-",
    }
    assert set(words) == set(planted)
    assert len(examples) == len(planted), "one of each"
    for line, (reason, _) in zip(examples, planted.most_common(), strict=True):
        place = re.match(r"  data/extra/foreign\.jsonl, line (\d+): (\w+) \(", line)
        assert place, line
        assert ran.truth.reasons[int(place[1])] == place[2]
        assert words[place[2]] in line
        assert planted[place[2]] == planted[reason], "the most frequent first"
    number = ran.details(split.METRICS)["near_duplicates"]
    assert near.startswith(f"{number} rows are near-duplicates of another one ")
    sides = {side: len(ran.listed(path)) for side, path in split.SPLITS.items()}
    assert ran.said["split"].splitlines()[-1] == (
        f"split: {', '.join(f'{side} {rows}' for side, rows in sides.items())} -> data/splits/"
    )


# --- tokenize


@pytest.fixture(scope="module")
def by_hand(ran: Ran, tiny_tokenizer: Any) -> dict[str, dict[str, list[int]]]:
    """The ids of each row of the splits, by side and id: the template of the tiny tokenizer, written out."""
    made = {}
    for side, path in split.SPLITS.items():
        rows = ran.listed(path)
        texts = [
            "<|start|>user\n" + "\n\n".join(filter(None, (row["instruction"], row["input"]))) + "<|end|>\n"
            f"<|start|>assistant\n{row['output'].strip()}<|end|>"
            for row in rows
        ]
        ids = tiny_tokenizer(texts, add_special_tokens=False)["input_ids"]
        made[side] = dict(zip([row["id"] for row in rows], ids, strict=True))
    return made


def test_rows_over_max_length_are_listed_and_counted_and_none_of_them_is_kept(
    ran: Ran, by_hand: dict[str, dict[str, list[int]]]
) -> None:
    limit, metrics = ran.params["tokenize"]["max_length"], ran.details(tokenize.METRICS)
    listed = ran.listed(tokenize.OVER_LENGTH)
    assert [(entry["side"], entry["id"], entry["length"]) for entry in listed] == [
        (side, name, len(ids)) for side, rows in by_hand.items() for name, ids in rows.items() if len(ids) > limit
    ]
    for side, rows in by_hand.items():
        dropped = sum(len(ids) > limit for ids in rows.values())
        assert metrics[side]["dropped_too_long"] == dropped
        assert metrics[side]["rows"] == len(ran.tokenized(side)) == len(rows) - dropped
        assert max(row["length"] for row in ran.tokenized(side)) == metrics[side]["longest"] <= limit

    planted = {ran.truth.instructions[number] for number, kind in ran.truth.kinds.items() if kind == "long"}
    ids = {row["id"] for path in split.SPLITS.values() for row in ran.listed(path) if row["instruction"] in planted}
    assert len(ids) == len(planted) > 4
    assert ids < {entry["id"] for entry in listed}
    assert {entry["side"] for entry in listed if entry["id"] in ids} == {"train", "val", "test"}


def test_every_row_that_is_kept_is_whole_ends_in_eos_and_has_an_answer(
    ran: Ran, by_hand: dict[str, dict[str, list[int]]], tiny_tokenizer: Any
) -> None:
    eos = tiny_tokenizer.eos_token_id
    for side, rows in by_hand.items():
        for row in ran.tokenized(side):
            assert row["input_ids"] == rows[row["id"]]
            assert row["length"] == len(row["input_ids"])
            assert row["input_ids"][-1] == eos
            assert 0 < row["answer_start"] == row["loss_start"] < row["length"] - 1
            assert row["input_ids"].index(eos, row["answer_start"]) == row["length"] - 1
    answers = {row["id"]: row["output"].strip() for row in ran.listed(split.SPLITS["val"])}
    for row in ran.tokenized("val"):
        assert tiny_tokenizer.decode(row["input_ids"][row["answer_start"] : -1]) == answers[row["id"]]


def test_it_is_told_how_many_rows_were_too_long_and_where_they_are_listed(ran: Ran) -> None:
    told = ran.said["tokenize"].splitlines()
    metrics = ran.details(tokenize.METRICS)
    for line, (side, path) in zip(told[:3], tokenize.TOKENIZED.items(), strict=True):
        numbers = metrics[side]
        dropped = f"{numbers['dropped_too_long']} over max_length dropped"
        assert line == f"{side}: {numbers['rows']} rows, {dropped} -> {path}"
    assert told[3:] == [
        "rows of more than 1024 tokens (tokenize.max_length) are listed in data/tokenized/over_length.jsonl"
    ]


# --- train


def test_twenty_steps_train_an_adapter(ran: Ran) -> None:
    metrics = ran.details(train.METRICS)
    assert metrics["steps"] == STEPS
    curves = (("loss", train.TRAIN_LOSS, {1, 5, 10, 15, 20}), ("val_loss", train.VAL_LOSS, {0, 20}))
    for name, path, steps in curves:
        with open(ran.folder / path, newline="", encoding="utf-8") as file:
            curve = {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file)}
        assert set(curve) == steps
        assert all(math.isfinite(loss) and 0 < loss < 10 for loss in curve.values())
        first, last = ("first", "last") if name == "loss" else ("before", "after")
        assert metrics[name] == {first: curve[min(steps)], last: curve[max(steps)]}
    assert metrics["val_loss"]["after"] < metrics["val_loss"]["before"]
    names = ["adapter_config.json", "adapter_model.safetensors", "training.json"]
    assert sorted(path.name for path in (ran.folder / train.ADAPTER).iterdir()) == names
    weights = load_file(ran.folder / train.ADAPTER / "adapter_model.safetensors")
    assert all(weight.isfinite().all() for weight in weights.values())
    assert all(weight.any() for name, weight in weights.items() if "lora_B" in name)
    rows = ran.details(tokenize.METRICS)["train"]["rows"]
    assert f" on {rows} rows, " in ran.said["train"]
    assert "adapter -> models/adapter/" in ran.said["train"]
