"""Drafts of reasoning models: what is taken out of an answer, and what only talks about a tag."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.selfinstruct.block_contract import BlockContract
from netllama.selfinstruct.json_schema_contract import JsonSchemaContract
from netllama.selfinstruct.output_contract import Candidate, read_candidates
from netllama.selfinstruct.thinking import strip_thinking
from netllama.teacher.store import Response

DRAFT = "\nPerhaps:\n1. Instruction: something on hold timers\n1. Output:\nA longer answer here.\n"
ANSWER = "###\n5. Instruction: Name the attribute that carries the path.\n5. Input:\n<noinput>\n5. Output:\nAS_PATH.\n"
TASK = Candidate("Name the attribute that carries the path.", "", "AS_PATH.")
HARMONY = ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>")
FORMS = [
    ("<think>", "</think>"),
    ("<THINK>", "</Think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("[THINK]", "[/THINK]"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("◁think▷", "◁/think▷"),
    ("<unused94>thought", "<unused95>"),
    ("<|channel>thought", "<channel|>"),
    ("Here is my thought process:", "Here is my response:"),
    HARMONY,
    ("<|start|>assistant<|channel|>analysis<|message|>", "<|start|>assistant<|channel|>final<|message|>"),
]
every_form = pytest.mark.parametrize(("start", "end"), FORMS, ids=[start for start, _ in FORMS])
BLOCKS = BlockContract("chat", 4)


def read(text: str, contract: Any = BLOCKS, finish_reason: str = "stop") -> list[Candidate]:
    limits = {"max_tokens": 64, "prompt_tokens": 1, "completion_tokens": 1}
    response = Response(key="k", draw="a/0/0", model="m", text=text, finish_reason=finish_reason, **limits)
    return read_candidates(contract, response)


@every_form
def test_a_draft_is_no_part_of_an_answer(start: str, end: str) -> None:
    assert read(f"{start}{DRAFT}{end}\n\n{ANSWER}") == [TASK]
    assert read(f"\n {start}{DRAFT}{end}{ANSWER}") == [TASK]


@every_form
def test_a_draft_that_began_in_the_prompt_ends_at_its_closing_tag(start: str, end: str) -> None:
    assert read(f"Okay, tasks on BGP.{DRAFT}{end}\n\n{ANSWER}") == [TASK]
    assert read(f"Okay, tasks on BGP. Let me plan.{end}{ANSWER}") == [TASK]


@every_form
@pytest.mark.parametrize("finish_reason", ["stop", "length"])
def test_a_draft_that_never_ends_is_a_cut_answer(start: str, end: str, finish_reason: str) -> None:
    assert [one.problem for one in read(f"{start}{DRAFT}", finish_reason=finish_reason)] == ["truncated"]
    schema = JsonSchemaContract(["timers"], 4)
    assert [one.problem for one in read(f"{start}{DRAFT}", schema, finish_reason)] == ["truncated"]


@every_form
def test_json_behind_a_draft_is_read(start: str, end: str) -> None:
    task = {"instruction": TASK.instruction, "input": "", "output": TASK.output, "category": "timers"}
    text = f'{start}\nLike {{"tasks": [{{"instruction": "a", "output": "b"}}]}}?\n{end}{json.dumps({"tasks": [task]})}'
    assert read(text, JsonSchemaContract(["timers"], 4)) == [Candidate(TASK.instruction, "", TASK.output, "timers")]


@every_form
def test_drafts_between_the_tasks_are_taken_out(start: str, end: str) -> None:
    second = ANSWER.replace("5.", "6.").replace("AS_PATH", "The path")
    text = f"{start}one{end}\n{ANSWER}\n{start}{DRAFT}{end}\n{second}"
    if (start, end) == HARMONY:
        text = f"{start}one<|end|><|start|>assistant{start}two{end}\n{ANSWER}{second}<|return|>"
    assert [one.output for one in read(text)] == ["AS_PATH.", "The path."]


def test_harmony_without_its_special_tokens_is_recognised() -> None:
    assert read(f"analysisWe need tasks.{DRAFT}assistantfinal{ANSWER}") == [TASK]


@pytest.mark.parametrize(
    "draft",
    [
        "<think>The answer has to follow </think> on a new line.\n</think>\n",
        "I close with </think>.\n</think>\n",
        "A template uses <think> for that.\n\n</think>\n",
        "<think>\n```python\nprint(1)\n</think>\n",
        "```json\n{}\n</think>\n",
        "<think>\n\n</think>\n\n",
    ],
)
def test_a_draft_may_name_tags_and_leave_a_fence_open(draft: str) -> None:
    assert read(f"{draft}{ANSWER}") == [TASK]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<answer>\n", "\n</answer>"),
        ("<|begin_of_solution|>", "<|end_of_solution|>"),
        ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
        ("<response>", "</response>\n"),
    ],
)
def test_the_envelope_of_an_answer_behind_a_draft_is_opened(before: str, after: str) -> None:
    assert read(f"<think>{DRAFT}</think>\n{before}{ANSWER}{after}") == [TASK]


@pytest.mark.parametrize(
    "text",
    [
        "Explain what `<think>` and `</think>` stand for in a log.",
        "The <think> tag opens a draft, and the </think> tag closes it.",
        'What does "</think>" close?',
        "```\n<think>\nHold timers.\n</think>\n```\nis what the log says.",
        "```xml\n<reasoning>\n  because\n</reasoning>\n```",
        "A token such as <|channel|>analysis<|message|> is special.",
        '{"tasks": [{"instruction": "Say where </think> stands, and <think> too.", "output": "x"}]}',
        "Think: a route is [THIN] and a <thin> one.",
        "",
    ],
)
def test_text_about_a_tag_stays_as_it_is(text: str) -> None:
    assert strip_thinking(text) == text


@given(st.text(alphabet="ab `\n<>[]/|think", max_size=60))
def test_what_has_no_markup_is_not_touched_and_what_is_stripped_was_there(text: str) -> None:
    stripped = strip_thinking(text)
    if "think" not in text.lower():
        assert stripped == text
    left = iter(text)
    assert all(character in left for character in stripped), "a subsequence: nothing is added"
