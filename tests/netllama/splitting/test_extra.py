"""Somebody else's Alpaca files: what is read, what is dropped with which reason, what is the wrong file."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.errors import StageError
from netllama.core.files import write_json, write_jsonl
from netllama.core.records import parse_instruction
from netllama.rendering.renderer import Renderer
from netllama.splitting.drops import BadRow
from netllama.splitting.extra import MOST_CHARACTERS, Reading, load_extra, read_instruction

GOOD = {"instruction": "What is a MED?", "output": "A metric."}


def good(number: int) -> dict[str, Any]:
    return {"instruction": f"What is {number}?", "output": "A number."}


def refused(path: Path) -> str:
    with pytest.raises(StageError) as raised:
        load_extra(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_an_alpaca_array_and_the_same_rows_as_lines_are_the_same(tmp_path: Path) -> None:
    rows = [
        {"instruction": "What is a MED?", "output": "A metric.", "input": "", "text": "joined", "id": 7},
        {"instruction": "What is an AS?", "output": "A network.", "family": "bgp"},
    ]
    write_json(tmp_path / "mine.json", rows)
    write_jsonl(tmp_path / "mine.jsonl", rows)
    array, lines = load_extra(tmp_path / "mine.json"), load_extra(tmp_path / "mine.jsonl")
    assert [row for row, _ in array.rows] == [row for row, _ in lines.rows]
    assert [(origin.unit, origin.number) for _, origin in array.rows] == [("item", 1), ("item", 2)]
    assert [(origin.unit, origin.number) for _, origin in lines.rows] == [("line", 1), ("line", 2)]
    first, second = (row.model_dump() for row, _ in array.rows)
    assert first.pop("id").startswith("mine-")
    assert first == {
        "family": "extra",
        "category": "",
        "source": "extra",
        "instruction": "What is a MED?",
        "input": "",
        "output": "A metric.",
    }
    assert second["family"] == "bgp"


def test_an_id_is_the_same_wherever_the_row_stands(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "mine.jsonl", [good(1), good(2)])
    before = {row.id for row, _ in load_extra(tmp_path / "mine.jsonl").rows}
    write_jsonl(tmp_path / "mine.jsonl", [good(3), good(2), {"instruction": ""}, good(1)])
    after = {row.id for row, _ in load_extra(tmp_path / "mine.jsonl").rows}
    assert before < after
    assert len(after) == 3


BAD: list[tuple[Any, str, str]] = [
    ({"output": "x"}, "no_instruction", "instruction: missing or empty"),
    ({"instruction": " \u200b\n", "output": "x"}, "no_instruction", "instruction: empty"),
    ({"instruction": "x", "output": ""}, "no_output", "output: missing or empty"),
    ({"instruction": "x", "output": None}, "no_output", "output: missing or empty"),
    ({"instruction": "x", "output": "y", "input": 5}, "wrong_type", "input: expected a text, not 5"),
    ({"instruction": ["x"], "output": "y"}, "wrong_type", 'instruction: expected a text, not ["x"]'),
    ({"instruction": "x", "output": "y", "family": 1}, "wrong_type", "family: expected a text, not 1"),
    (["x", "y"], "not_an_object", 'expected an object with instruction, input, output, not ["x", "y"]'),
    (None, "not_an_object", "expected an object with instruction, input, output, not null"),
    ({"instruction": "x\ud83d", "output": "y"}, "half_surrogate", "instruction: half a surrogate pair"),
    ({"instruction": "x", "output": "y\0"}, "nul", "output: contains a NUL character"),
    ({"instruction": "x", "output": "y", "input": "\ufdd0special-token-1"}, "noncharacter", "input: contains U+FDD0,"),
    (
        {"instruction": "x", "output": "y\U0010ffff"},
        "noncharacter",
        "output: contains U+10FFFF, which Unicode reserves",
    ),
    ({"instruction": "x", "output": "y\n### Response: z"}, "prompt_leakage", "output: '### Response:' is markup"),
    ({"instruction": "x", "output": "y\n20. Instruction: z"}, "prompt_leakage", "output: '20. Instruction:' is"),
    ({"instruction": "<|im_start|>user", "output": "y"}, "prompt_leakage", "instruction: '<|im_start|>' is markup"),
    ({"instruction": "[INST] x", "output": "y"}, "prompt_leakage", "instruction: '[INST]' is markup of a prompt"),
    ({"instruction": "x", "input": "or <noinput>", "output": "y"}, "prompt_leakage", "input: '<noinput>' is markup"),
]


@pytest.mark.parametrize(("row", "reason", "said"), BAD)
@pytest.mark.parametrize("name", ["mine.json", "mine.jsonl"])
def test_a_bad_row_is_dropped_with_its_place_and_reason(
    tmp_path: Path, name: str, row: Any, reason: str, said: str
) -> None:
    path = tmp_path / name
    if path.suffix == ".json":
        path.write_text(json.dumps([good(1), row, good(2)]))
    else:
        path.write_text("\n".join(json.dumps(each) for each in (good(1), row, good(2))))
    found = load_extra(path)
    assert [row.instruction for row, _ in found.rows] == ["What is 1?", "What is 2?"]
    (drop,) = found.drops
    assert drop.reason == reason
    assert drop.detail.startswith(said)
    unit = "item" if path.suffix == ".json" else "line"
    assert drop.as_row() == {"file": str(path), unit: 2, "reason": reason, "detail": drop.detail}


def test_a_row_that_no_model_could_read_is_dropped_before_it_is_compared(tmp_path: Path) -> None:
    path, half = tmp_path / "mine.jsonl", "a" * (MOST_CHARACTERS // 2)
    rows = [good(1), *({"instruction": half, "output": half + more} for more in ("", "b"))]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = load_extra(path)
    assert len(found.rows) == 2
    (drop,) = found.drops
    assert (drop.reason, drop.origin and drop.origin.number) == ("too_long", 3)
    assert drop.detail == "2,000,001 characters, more than 2,000,000: cut it into several rows"


@pytest.mark.parametrize("template", ["chat", "alpaca"])
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
    | st.sampled_from(
        [
            *map(chr, [*range(1, 32), *range(127, 160), 0xFDD0, 0xFFFE]),
            "\ufdd0special-token-1\ufdd1",
            "<|end|>",
            "<|start|>",
        ]
    )
)
def test_every_row_that_is_taken_can_be_tokenized(tiny_tokenizer: Any, template: str, text: str) -> None:
    """U+FDD0 passed, and ended tokenize a stage later. Control characters go through both."""
    renderer = Renderer(tiny_tokenizer, template, "")
    for name in ("instruction", "input", "output"):
        for written in (text, f"{text}a", f"a{text}b", f"a{text}"):
            raw = {"instruction": "What is a MED?", "input": "", "output": "A metric."} | {name: written}
            try:
                row = read_instruction("mine", raw, Reading("mine.jsonl"))
            except BadRow:
                continue
            parsed = parse_instruction(row.model_dump())
            renderer.render(parsed.instruction, parsed.output, parsed.input)


BAD_LINES = [
    (b'{"instruction": "a", "outp', "not_json"),
    (b"instruction,output", "not_json"),
    (b'{"instruction": "caf\xe9", "output": "b"}', "not_utf8"),
    (b"[" * 100_000, "not_json"),
    (b'{"instruction": "a", "output": "b", "score": ' + b"9" * 5000 + b"}", "not_json"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_a_line_that_is_not_json_is_dropped_and_the_file_read_on(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b"\n".join((json.dumps(good(1)).encode(), b"", line, json.dumps(good(2)).encode(), b"")))
    found = load_extra(path)
    assert len(found.rows) == 2
    assert [(drop.reason, drop.origin and drop.origin.number) for drop in found.drops] == [(reason, 3)]


def test_a_byte_order_mark_blank_lines_carriage_returns_and_a_missing_last_newline_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    lines = [json.dumps(good(number), ensure_ascii=False).encode() for number in range(3)]
    path.write_bytes(b"\xef\xbb\xbf" + lines[0] + b"\r\n\r\n  \n" + lines[1] + b"\n" + lines[2])
    found = load_extra(path)
    assert not found.drops
    assert [origin.number for _, origin in found.rows] == [1, 4, 5]


@pytest.mark.parametrize(
    "value",
    [{"input": None}, {}, {"input": ""}, {"input": "<noinput>"}, {"input": " <NoInput>\n"}, {"input": "Noinput"}],
)
def test_no_input_in_any_way_is_an_empty_one(tmp_path: Path, value: dict[str, Any]) -> None:
    write_jsonl(tmp_path / "mine.jsonl", [GOOD | value])
    ((row, _),) = load_extra(tmp_path / "mine.jsonl").rows
    assert row.input == ""


@pytest.mark.parametrize(
    "text", ["### Input:\n5", "Headings\n### Output:\n", "## 2. Output", "List[INSTANCE]", "a <s>b</s> c"]
)
def test_headings_and_code_are_not_markup_of_a_prompt(tmp_path: Path, text: str) -> None:
    write_jsonl(tmp_path / "mine.jsonl", [GOOD | {"output": text}])
    ((row, _),) = load_extra(tmp_path / "mine.jsonl").rows
    assert row.output == text


def test_a_file_with_mostly_bad_rows_is_the_wrong_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    write_jsonl(path, [good(1), *[{"output": "b"}] * 4])
    why = "instruction: missing or empty"
    first = f"line 2: {why}; line 3: {why}; line 4: {why}"
    assert refused(path) == f"{path}: 4 of 5 rows are not valid instructions. Is this the right file? {first}"


def test_a_file_with_half_of_its_rows_bad_is_read(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "mine.jsonl", [good(1), {"prompt": "a"}])
    assert len(load_extra(tmp_path / "mine.jsonl").drops) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("mine.json", "mine.jsonl"):
        assert refused(tmp_path / name) == f"{tmp_path / name}: no such file"
