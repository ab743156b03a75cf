"""The rows of the data files: what is accepted, and how each kind of bad row is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from netllama.core.errors import StageError
from netllama.core.files import write_findings, write_jsonl
from netllama.core.records import (
    GeneratedInstruction,
    Instruction,
    Question,
    SeedInstruction,
    Task,
    load_content,
    load_instructions,
    load_questions,
    load_seeds,
    parse_as,
)
from tests.support.records import PROVENANCE

Row = dict[str, Any]

SEED: Row = {
    "id": "bgp-1",
    "category": "fsm",
    "instruction": "Explain OpenSent.",
    "input": "",
    "output": "It waits for an OPEN.",
    "reference": "RFC 4271 section 8",
}
EXTRA: Row = {
    "id": "mine-1",
    "family": "bgp",
    "category": "",
    "instruction": "Explain OpenSent.",
    "input": "",
    "output": "It waits for an OPEN.",
    "source": "extra",
}
GENERATED: Row = EXTRA | PROVENANCE | {"id": "bgp-r000-s00-t00", "source": "generated"}
SEEDED: Row = SEED | {"family": "bgp", "source": "seed", "form": "explain", "difficulty": "hard", "scenario": "hijack"}
QUESTION: Row = {
    "id": "q-1",
    "family": "bgp",
    "kind": "choice",
    "question": "Which port?",
    "options": ["179", "180", "22"],
    "answer": "A",
    "aliases": [],
    "key_facts": [],
    "reference": "RFC 4271",
    "cluster": "",
}


def without(row: Row, key: str) -> Row:
    return {name: value for name, value in row.items() if name != key}


def one_line(error: pytest.ExceptionInfo[StageError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert "pydantic" not in message
    return message


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (without(SEED, "output"), "output: field required"),
        (without(SEED, "id"), "id: field required"),
        (SEED | {"instruction": ""}, "instruction: empty"),
        (SEED | {"output": " \n\t"}, "output: empty"),
        (SEED | {"input": None}, "input: input should be a valid string"),
        (SEED | {"output": 179}, "output: input should be a valid string"),
        (SEED | {"reference": ""}, "reference: string should have at least 1 character"),
        (SEED | {"outptu": "x"}, "outptu: extra inputs are not permitted (keys: instruction, input, output, id, "),
    ],
)
def test_a_bad_seed_is_named_with_its_line_and_key(tmp_path: Path, row: Row, said: str) -> None:
    write_jsonl(tmp_path / "bgp.jsonl", [SEED | {"id": "first"}, row])
    with pytest.raises(StageError) as raised:
        load_seeds(tmp_path, "bgp")
    assert one_line(raised).startswith(f"{tmp_path}/bgp.jsonl:2: {said}")


def test_half_a_surrogate_pair_is_refused_before_it_breaks_a_writer(tmp_path: Path) -> None:
    (tmp_path / "bgp.jsonl").write_text(json.dumps(SEED | {"output": "\ud83d"}) + "\n")
    with pytest.raises(StageError) as raised:
        load_seeds(tmp_path, "bgp")
    assert one_line(raised).startswith(f"{tmp_path}/bgp.jsonl:1: half a surrogate pair")


@pytest.mark.parametrize("key", ["instruction", "input", "output"])
def test_a_code_point_that_is_no_character_is_refused_where_the_task_is_read(tmp_path: Path, key: str) -> None:
    """Tokenize hides special tokens behind it, so it would end there, two stages later."""
    for code in (0xFDD0, 0xFDEF, 0xFFFE, 0x3FFFF, 0x10FFFF):
        write_jsonl(tmp_path / "bgp.jsonl", [SEED | {"id": "first"}, SEED | {key: f"{chr(code)}special-token-1"}])
        with pytest.raises(StageError) as raised:
            load_seeds(tmp_path, "bgp")
        where = (
            f"{tmp_path}/bgp.jsonl:2: {key} contains U+{code:04X}, which Unicode reserves and no text has; delete it"
        )
        assert one_line(raised) == where
    write_jsonl(tmp_path / "bgp.jsonl", [SEED | {key: "\ufdcf\ufdf0\ufffd\U0010fffd\x01\x1f\x7f\x85"}])
    assert len(load_seeds(tmp_path, "bgp")) == 1


@pytest.mark.parametrize("key", ["question", "options"])
def test_so_it_is_in_a_question(key: str) -> None:
    bad = "Which \ufdd0?" if key == "question" else ["this", "that \ufdd0"]
    with pytest.raises(ValueError, match=rf"^{key} contains U\+FDD0, which"):
        parse_as(Question, QUESTION | {key: bad})


def test_a_seed_id_used_twice_is_named(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "bgp.jsonl", [SEED, SEED | {"instruction": "Another."}])
    with pytest.raises(StageError, match=rf"^{tmp_path}/bgp\.jsonl: id bgp-1 is used twice$"):
        load_seeds(tmp_path, "bgp")


def test_a_family_without_a_seed_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "bgp.jsonl").write_text("\n")
    with pytest.raises(StageError, match=r"family bgp has no seed task; write one, or drop it"):
        load_seeds(tmp_path, "bgp")


def test_each_row_of_a_split_is_the_record_of_its_source_and_is_written_as_it_was_read(tmp_path: Path) -> None:
    written = [SEEDED, GENERATED, EXTRA]
    write_jsonl(tmp_path / "pool.jsonl", written)
    rows = load_instructions(tmp_path / "pool.jsonl")
    assert [type(row) for row in rows] == [SeedInstruction, GeneratedInstruction, Instruction]
    assert [row.model_dump() for row in rows] == written


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (EXTRA | {"source": "copied"}, "source: input should be 'seed', 'generated', 'extra' or 'program'"),
        (EXTRA | {"source": ["seed"]}, "source: input should be 'seed', 'generated', 'extra' or 'program'"),
        (without(EXTRA, "source"), "source: field required"),
        (without(EXTRA, "family"), "family: field required"),
        (EXTRA | {"instruction": "  "}, "instruction: empty"),
        (without(GENERATED, "exemplars"), "exemplars: field required"),
        (GENERATED | {"nearest_score": "0.25"}, "nearest_score: input should be a valid number"),
        (without(SEEDED, "reference"), "reference: field required"),
    ],
)
def test_a_bad_instruction_is_named(tmp_path: Path, row: Row, said: str) -> None:
    path = tmp_path / "pool.jsonl"
    write_jsonl(path, [EXTRA, row])
    with pytest.raises(StageError) as raised:
        load_instructions(path)
    assert one_line(raised) == f"{path}:2: {said}"


def test_a_file_that_says_that_there_is_none_has_no_instruction(tmp_path: Path) -> None:
    write_findings(tmp_path / "pool.jsonl", [], none="no task was generated")
    assert load_instructions(tmp_path / "pool.jsonl") == []


@pytest.mark.parametrize("row", [EXTRA, GENERATED, SEEDED])
def test_a_mistyped_key_of_an_instruction_is_named(tmp_path: Path, row: Row) -> None:
    write_jsonl(tmp_path / "pool.jsonl", [row | {"exemplar": []}])
    with pytest.raises(StageError, match=r"pool\.jsonl:1: exemplar: extra inputs are not permitted \(keys: "):
        load_instructions(tmp_path / "pool.jsonl")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"options": ["179"]}, "a choice question has 2 to 10 options"),
        ({"options": list("abcdefghijk")}, "a choice question has 2 to 10 options"),
        ({"answer": "D"}, "answer 'D' is not the letter of an option"),
        ({"answer": "179"}, "answer '179' is not the letter of an option"),
        ({"answer": "a"}, "answer 'a' is not the letter of an option"),
        ({"answer": "AB"}, "answer 'AB' is not the letter of an option"),
        ({"answer": ""}, "answer '' is not the letter of an option"),
        ({"kind": "true_false", "options": [], "answer": "True"}, "answer 'True' is neither true nor false"),
        ({"options": ["179", "22", " 179"]}, "two options are equal"),
        ({"kind": "blank", "options": [], "question": "Port ____.", "answer": " "}, "answer is empty"),
        ({"kind": "open", "options": [], "answer": ""}, "answer is empty"),
        ({"kind": "blank", "options": [], "question": "Port?", "answer": "179"}, "has no blank"),
        ({"kind": "multiple"}, "kind: input should be 'choice', "),
        ({"question": " "}, "question: empty"),
        ({"options": "179"}, "options: input should be a valid list"),
        ({"options": ["179", 180]}, "options.1: input should be a valid string"),
    ],
)
def test_a_bad_question_is_named(tmp_path: Path, changes: Row, said: str) -> None:
    write_jsonl(tmp_path / "q.jsonl", [QUESTION, QUESTION | {"id": "q-2"} | changes])
    with pytest.raises(StageError) as raised:
        load_questions(tmp_path)
    assert one_line(raised).startswith(f"{tmp_path}/q.jsonl:2: {said}")


def test_questions_come_in_the_order_of_file_and_line(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "b.jsonl", [QUESTION | {"id": "q-3"}])
    write_jsonl(tmp_path / "a.jsonl", [QUESTION | {"id": "q-2"}, QUESTION])
    assert [question.id for question in load_questions(tmp_path)] == ["q-2", "q-1", "q-3"]


def test_a_question_id_used_in_two_files_is_named_with_both(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [QUESTION, QUESTION | {"id": "q-2"}])
    write_jsonl(tmp_path / "b.jsonl", [QUESTION, QUESTION | {"id": "q-3"}, QUESTION | {"id": "q-3"}])
    with pytest.raises(StageError) as raised:
        load_questions(tmp_path)
    assert str(raised.value).splitlines() == [
        f"{tmp_path}/a.jsonl and {tmp_path}/b.jsonl: id q-1 is used twice",
        f"{tmp_path}/b.jsonl: id q-3 is used twice",
    ]


def test_all_bad_lines_of_all_files_are_listed(tmp_path: Path) -> None:
    (tmp_path / "seeds").mkdir()
    (tmp_path / "questions").mkdir()
    write_jsonl(tmp_path / "seeds" / "a.jsonl", [SEED | {"output": ""}, SEED, SEED | {"id": ""}])
    write_jsonl(tmp_path / "seeds" / "b.jsonl", [SEED])
    write_jsonl(tmp_path / "questions" / "q.jsonl", [QUESTION | {"answer": "D"}, QUESTION, {"id": "q-9"}])
    (tmp_path / "questions" / "r.jsonl").write_bytes(b"{\n\n[]\n")
    (tmp_path / "questions" / "s.jsonl").write_bytes(json.dumps(QUESTION).encode() + b"\ncaf\xe9\n")
    with pytest.raises(StageError) as raised:
        load_content(tmp_path / "seeds", tmp_path / "questions", ["a", "b", "c"])
    assert [line.removeprefix(f"{tmp_path}/").partition(": ")[0] for line in str(raised.value).splitlines()] == [
        "seeds/a.jsonl:1", "seeds/a.jsonl:3", "seeds/c.jsonl",
        "questions/q.jsonl:1", "questions/q.jsonl:3", "questions/r.jsonl:1", "questions/r.jsonl:3", "questions/s.jsonl",
    ]  # fmt: skip


def test_content_is_what_the_files_hold(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "bgp.jsonl", [SEED])
    write_jsonl(tmp_path / "q" / "q.jsonl", [QUESTION])
    (tmp_path / "q" / "README.md").write_text("About.")
    (tmp_path / "q" / ".gitignore").write_text("*.bak")
    seeds, questions = load_content(tmp_path, tmp_path / "q", ["bgp"])
    assert [seed.id for seed in seeds["bgp"]] == ["bgp-1"]
    assert [question.id for question in questions] == ["q-1"]


@pytest.mark.parametrize("name", ["more.json", "more.JSONL", "more.jsonl.gz", "more.csv", "old"])
def test_a_file_among_the_questions_that_would_not_be_read_is_an_error(tmp_path: Path, name: str) -> None:
    write_jsonl(tmp_path / "q.jsonl", [QUESTION])
    write_jsonl(tmp_path / name, [QUESTION])
    with pytest.raises(StageError, match=r"is not read, since questions are in \.jsonl files") as raised:
        load_questions(tmp_path)
    assert one_line(raised).startswith(f"{tmp_path}/{name}: ")


def test_no_questions_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"no questions; add a \.jsonl file"):
        load_questions(tmp_path)


def test_records_are_frozen() -> None:
    question = parse_as(Question, QUESTION)
    with pytest.raises(ValueError, match="frozen"):
        question.answer = "B"


def test_a_task_without_an_input_has_an_empty_one() -> None:
    assert parse_as(Task, {"instruction": "a", "input": "", "output": "b"}).input == ""
    with pytest.raises(ValueError, match="input: field required"):
        parse_as(Task, {"instruction": "a", "output": "b"})
