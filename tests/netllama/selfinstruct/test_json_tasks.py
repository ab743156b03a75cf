"""Answers that are nearly the JSON of the contract: what has one meaning is read."""

import json
from typing import Any

import pytest

from netllama.selfinstruct.json_schema_contract import JsonSchemaContract
from netllama.selfinstruct.output_contract import Candidate

JSON = JsonSchemaContract(["timers"], 4)
PORT: dict[str, Any] = {"instruction": "Name the BGP port.", "input": "", "output": "TCP 179.", "category": "timers"}
OTHER = {"instruction": "Say [why] {it} flaps.", "input": "a {b: [1]}", "output": '{"x": [1]}', "category": "timers"}
READ = [Candidate(**PORT), Candidate(**OTHER)]
WHOLE = json.dumps({"tasks": [PORT, OTHER]})


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{WHOLE}\n```",
        f"```\n{json.dumps([PORT, OTHER], indent=2)}\n```",
        f"Sure, here are [2] {{new}} tasks:\n\n{WHOLE}\n\nTell me if you need more.",
        json.dumps([PORT, OTHER]),
        json.dumps({"count": 2, "items": [PORT, OTHER]}),
        json.dumps({"data": {"tasks": [PORT, OTHER]}}),
        json.dumps({"task_1": PORT, "task_2": OTHER}),
        json.dumps([{key.title(): value for key, value in task.items()} for task in (PORT, OTHER)]),
        f"{json.dumps(PORT)}\n{json.dumps(OTHER)}\n",
        f"```json\n{json.dumps(PORT)}\n```\nand\n```json\n{json.dumps(OTHER)}\n```",
        f'{{"tasks": [{json.dumps(PORT)}, {json.dumps(OTHER)},]}}',
        f'{{"tasks": [\n{json.dumps(PORT)}\n{json.dumps(OTHER)}\n]}}',
        f'// tasks\n{{"tasks": [{json.dumps(PORT)}, /* and */ {json.dumps(OTHER)}]}}',
        f"{{'tasks': [{json.dumps(PORT)}, {json.dumps(OTHER)}]}}",
        f"\ufeff{WHOLE}",
    ],
)
def test_tasks_are_read_wherever_they_stand(text: str) -> None:
    assert JSON.parse_tasks(text, None) == READ


def test_a_task_alone_is_read() -> None:
    for text in (json.dumps(PORT), f"Here: {json.dumps(PORT)}", json.dumps({"tasks": PORT})):
        assert JSON.parse_tasks(text, None) == READ[:1]


@pytest.mark.parametrize("missing", ["input", "category"])
@pytest.mark.parametrize("null", [True, False])
def test_no_input_and_no_category_are_empty_ones(missing: str, null: bool) -> None:
    task = {key: value for key, value in OTHER.items() if key != missing} | ({missing: None} if null else {})
    assert JSON.parse_tasks(json.dumps({"tasks": [task]}), None) == [Candidate(**OTHER | {missing: ""})]


def test_line_ends_and_tabs_inside_a_string_are_read() -> None:
    text = '{"tasks": [{"instruction": "Name\n it.", "output": "one\n\ttwo"}]}'
    assert JSON.parse_tasks(text, None) == [Candidate("Name it.", "", "one\n\ttwo")]


def test_typographic_quotes_around_keys_and_values_are_quotes() -> None:
    text = "{“tasks”: [{“instruction”: “Name it.”, “output”: “It's 179.”}]}"
    assert JSON.parse_tasks(text, None) == [Candidate("Name it.", "", "It's 179.")]
    quoted = json.dumps({"tasks": [PORT | {"output": "a “quoted” word"}]}, ensure_ascii=False)
    assert [task.output for task in JSON.parse_tasks(quoted, None)] == ["a “quoted” word"]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_task_that_is_broken_costs_no_other(place: int) -> None:
    rows = [json.dumps(PORT), json.dumps(OTHER)]
    rows.insert(place, '{"instruction": "Say "why" it flaps.", "output": "x"}')
    tasks = JSON.parse_tasks(f'{{"tasks": [{", ".join(rows)}]}}', None)
    assert [task for task in tasks if not task.problem] == READ
    [broken] = [task for task in tasks if task.problem]
    assert broken.problem == "malformed"
    assert 'Say "why" it flaps.' in broken.instruction


@pytest.mark.parametrize("before", ["", "```json\n", "Here you go:\n"])
@pytest.mark.parametrize("shape", [[PORT, OTHER], {"items": [PORT, OTHER]}, {"data": {"tasks": [PORT, OTHER]}}])
def test_a_cut_answer_of_another_form_gives_the_tasks_in_front_of_the_cut(before: str, shape: Any) -> None:
    text = before + json.dumps(shape)
    start, end = text.index(json.dumps(OTHER)), text.index(json.dumps(OTHER)) + len(json.dumps(OTHER))
    for cut in range(start + 1, end):
        whole, last = JSON.parse_tasks(text[:cut], "truncated")
        assert (whole, last.problem) == (READ[0], "truncated")
    for cut in range(end, len(text) + 1):
        assert JSON.parse_tasks(text[:cut], "truncated") == READ


@pytest.mark.parametrize(
    "value",
    [{"good": [PORT], "bad": [OTHER]}, {"a": {"b": {"c": {"tasks": [PORT]}}}}, {"task": PORT["instruction"]}, "tasks"],
)
def test_what_may_mean_two_things_is_malformed(value: object) -> None:
    text = json.dumps(value)
    assert JSON.parse_tasks(text, None) == [Candidate(instruction=text, problem="malformed")]
