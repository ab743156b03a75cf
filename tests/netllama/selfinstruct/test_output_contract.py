"""Output contracts: what the teacher is asked to write, and its text, whole, cut or wrong, back into tasks."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.core.records import SeedTask
from netllama.selfinstruct.block_contract import BlockContract, format_block
from netllama.selfinstruct.json_schema_contract import FIELDS, JsonSchemaContract
from netllama.selfinstruct.output_contract import CUT_PROBLEMS, Candidate, OutputContract, read_candidates
from netllama.teacher.store import Request, Response
from tests.support.families import FAMILIES, load_family_seeds, seed

DIRECTIVE = "Write tasks for a network engineer who debugs BGP sessions between two autonomous systems every day."
CATEGORIES = ["attributes", "timers"]
BLOCKS = BlockContract("completions", 4)
JSON = JsonSchemaContract(CATEGORIES, 4)
GOOD = "###\n7. Instruction: a\n7. Output:\nb"
TASK = {"instruction": "Name the BGP port.", "input": "", "output": "TCP 179.", "category": "timers"}
READ = Candidate("Name the BGP port.", "", "TCP 179.", "timers")


def answer(text: str, finish_reason: str = "stop") -> Response:
    limits = {"max_tokens": 64, "prompt_tokens": 1, "completion_tokens": 1}
    return Response(key="k", draw="a/0/0", model="m", text=text, finish_reason=finish_reason, **limits)


# BlockContract


def test_well_formed_blocks_become_candidates_in_order() -> None:
    text = (
        "###\n3. Instruction: Name the\n BGP port.\n3. Input:\n<noinput>\n3. Output:\nTCP 179.\n"
        "###\n4. Instruction: Decode this.\n4. Input:\n40 01 01 00\n\n4. Output:\nORIGIN IGP\n\nTwo paragraphs.\n###\n"
    )
    assert BLOCKS.parse_tasks(text, None) == [
        Candidate("Name the BGP port.", "", "TCP 179."),
        Candidate("Decode this.", "40 01 01 00", "ORIGIN IGP\n\nTwo paragraphs."),
    ]


def test_the_first_piece_goes_on_where_the_prompt_ended() -> None:
    text = " Name the BGP port.\n3. Input:\n<noinput>\n3. Output:\nTCP 179."
    assert BLOCKS.parse_tasks(text, None) == [Candidate("Name the BGP port.", "", "TCP 179.")]


def test_a_first_piece_that_says_its_number_again_is_taken_as_it_is() -> None:
    text = "\n3. Instruction: Name the BGP port.\n3. Input:\n<noinput>\n3. Output:\nTCP 179."
    assert BLOCKS.parse_tasks(text, None) == [Candidate("Name the BGP port.", "", "TCP 179.")]


def test_a_block_with_no_input_field_has_an_empty_input() -> None:
    text = "###\n3. Instruction: Name the BGP port.\n3. Output:\nTCP 179."
    assert BLOCKS.parse_tasks(text, None) == [Candidate("Name the BGP port.", "", "TCP 179.")]


@pytest.mark.parametrize("written", ["<noinput>", "<NoInput>", "noinput", ""])
def test_noinput_in_any_spelling_is_an_empty_input(written: str) -> None:
    [candidate] = BLOCKS.parse_tasks(f"###\n1. Instruction: a\n1. Input:\n{written}\n1. Output:\nb", None)
    assert candidate == Candidate("a", "", "b")
    [candidate] = JSON.parse_tasks(json.dumps({"tasks": [TASK | {"input": written}]}), None)
    assert candidate == READ


@pytest.mark.parametrize(
    "piece",
    [
        "1. Output:\nb\n1. Input:\nc\nInstruction: a",  # out of order
        "1. Instruction: a\n1. Input:\nb",  # no output
        "1. Instruction: a\nInstruction: b\n1. Output:\nc",  # two in one
        "1. Instruction: a\n1. Output:\nb\n1. Output:\nc",
    ],
)
def test_a_block_with_other_fields_is_malformed_and_keeps_its_text(piece: str) -> None:
    assert BLOCKS.parse_tasks(f"###\n{piece}\n{GOOD}", None) == [
        Candidate(instruction=piece, problem="malformed"),
        Candidate("a", "", "b"),
    ]


@pytest.mark.parametrize("between", ["\n", "\n\n \n"])
@pytest.mark.parametrize("start", ["###\n3. Instruction: a", "3. Instruction: a", " a"])
def test_a_numbered_instruction_begins_a_block_where_the_separator_was_forgotten(start: str, between: str) -> None:
    text = f"{start}\n3. Output:\nb\n1. Step{between}4. Instruction: c\n4. Input:\nd\n4. Output:\ne"
    assert BLOCKS.parse_tasks(text, None) == [Candidate("a", "", "b\n1. Step"), Candidate("c", "d", "e")]
    [first, second] = BLOCKS.parse_tasks(text, "truncated")
    assert (first.problem, second.problem) == (None, "truncated")


def test_chatter_before_the_first_block_is_one_malformed_candidate() -> None:
    first, second = BLOCKS.parse_tasks(f"Sure! Here you go:\n{GOOD}", None)
    assert (first.problem, second) == ("malformed", Candidate("a", "", "b"))


@pytest.mark.parametrize("problem", sorted(CUT_PROBLEMS.values()))
def test_only_the_last_block_of_a_cut_answer_has_the_problem(problem: str) -> None:
    text = f"{GOOD}\n###\n2. Instruction: c\n2. Output:\nd and then"
    assert BLOCKS.parse_tasks(text, problem) == [
        Candidate("a", "", "b"),
        Candidate("c", "", "d and then", problem=problem),
    ]


@pytest.mark.parametrize("text", ["", " \n\n", "###\n###\n", "###"])
def test_empty_blocks_are_no_candidates(text: str) -> None:
    assert BLOCKS.parse_tasks(text, "truncated") == []


def test_a_markdown_heading_does_not_end_a_block() -> None:
    [candidate] = BLOCKS.parse_tasks("###\n1. Instruction: a\n1. Output:\n### Steps\nb\n#### More\nc", None)
    assert candidate.output == "### Steps\nb\n#### More\nc"


def test_a_completion_prompt_ends_where_the_next_task_begins() -> None:
    prompt = BLOCKS.build_prompt(f"\n{DIRECTIVE}\n", [seed("seed0"), seed("seed1")])
    assert set(prompt) == {"prompt"}
    assert prompt["prompt"].startswith(
        f"{DIRECTIVE}\n\n###\n1. Instruction: seed0\n1. Input:\n<noinput>\n1. Output:\nxxxx\n###\n2. "
    )
    assert prompt["prompt"].endswith("\n###\n3. Instruction:")


def test_chat_messages_hold_the_directive_first_and_say_how_many_to_write_and_how() -> None:
    prompt = BlockContract("chat", 7).build_prompt(f"{DIRECTIVE}\n", [seed("seed0"), seed("seed1")])
    assert set(prompt) == {"messages"}
    system, user = prompt["messages"]
    assert system == {"role": "system", "content": DIRECTIVE}
    assert user["role"] == "user"
    assert "2. Instruction: seed1\n2. Input:\n<noinput>\n" in user["content"]
    assert "7 new tasks" in user["content"]
    assert "3. Instruction:" in user["content"]


# The JSON schema


def levels(schema: Any) -> list[dict[str, Any]]:
    """Every object of a JSON schema."""
    if not isinstance(schema, dict):
        return []
    inner = [found for value in schema.values() for found in levels(value)]
    return [schema, *inner] if schema.get("type") == "object" else inner


def test_the_schema_is_strict_at_every_level() -> None:
    objects = levels(JSON.schema)
    assert [list(level["properties"]) for level in objects] == [["tasks"], list(FIELDS)]
    for level in objects:
        assert level["required"] == list(level["properties"])
        assert level["additionalProperties"] is False
    task = objects[1]["properties"]
    assert task.pop("category") == {"type": "string", "enum": CATEGORIES}
    assert all(field == {"type": "string"} for field in task.values())


def test_the_schema_goes_out_with_messages_that_hold_the_directive_first_and_the_examples_as_json() -> None:
    exemplars = [seed("seed0", input="é"), seed("seed1")]
    prompt = JsonSchemaContract(CATEGORIES, 7).build_prompt(f"\n{DIRECTIVE}\n", exemplars)
    assert set(prompt) == {"messages", "json_schema"}
    system, user = prompt["messages"]
    assert system == {"role": "system", "content": DIRECTIVE}
    shown, _, words = user["content"].rpartition("\n\n")
    assert json.loads(shown) == {"tasks": [{name: getattr(task, name) for name in FIELDS} for task in exemplars]}
    assert "é" in shown
    assert words.startswith("Write 7 new tasks")
    request = {"teacher": "t", "model": "m", "api": "chat", "temperature": 0, "top_p": 1, "max_tokens": 9, "draw": "d"}
    assert Request(**request, **prompt).json_schema == prompt["json_schema"]


def test_whole_json_becomes_candidates_in_order() -> None:
    other = TASK | {"instruction": " Decode\n this. ", "input": " 40 01 ", "output": "\nORIGIN\n\nIGP\n"}
    assert JSON.parse_tasks(json.dumps({"tasks": [TASK, other]}), None) == [
        READ,
        Candidate("Decode this.", "40 01", "ORIGIN\n\nIGP", "timers"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "I can't.",
        '{"tasks": [',
        '{"tasks": 5}',
        '{"tasks": null}',
        '{"tasks": "abc"}',
        '{"tasks": {"instruction": "a"}}',
        '{"task": []}',
        "[]",
        "5",
        "null",
        '{"tasks": [{"instruction": "half an emoji \\ud83d"}]}',
    ],
)
def test_an_answer_that_is_no_json_of_tasks_is_one_malformed_candidate_with_its_text(text: str) -> None:
    assert JSON.parse_tasks(text, None) == [Candidate(instruction=text, problem="malformed")]


@pytest.mark.parametrize(
    "row",
    [
        5,
        None,
        "text",
        [],
        {},
        *({key: value for key, value in TASK.items() if key != missing} for missing in ("instruction", "output")),
        *(TASK | {key: wrong} for key in TASK for wrong in (5, ["a"], {"a": "b"})),
        *(TASK | {key: None} for key in ("instruction", "output")),
    ],
)
def test_a_row_of_another_form_is_malformed_and_its_neighbours_are_read(row: object) -> None:
    before, wrong, after = JSON.parse_tasks(json.dumps({"tasks": [TASK, row, TASK]}), None)
    assert before == after == READ
    assert (json.loads(wrong.instruction), wrong.problem) == (row, "malformed")


def test_a_key_too_many_is_no_harm() -> None:
    assert JSON.parse_tasks(json.dumps({"tasks": [TASK | {"note": 5}], "more": 1}), None) == [READ]


# What may follow a cut: ends of lists and objects inside a text, escapes, characters of several bytes.
hostile = st.text(alphabet='{}[]",:\\/\n é\u2028😀ab1', max_size=12)
hostile_tasks = st.lists(
    st.builds(
        lambda first, second, third, category: {
            "instruction": " ".join(first.split()),
            "input": second.strip(),
            "output": third.strip(),
            "category": category,
        },
        hostile,
        hostile,
        hostile,
        st.sampled_from(CATEGORIES),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=60)
@given(hostile_tasks, st.booleans(), st.sampled_from(sorted(CUT_PROBLEMS.values())))
def test_json_cut_at_any_byte_gives_the_tasks_that_were_whole_and_marks_the_one_that_was_not(
    tasks: list[dict[str, str]], ascii_only: bool, problem: str
) -> None:
    text, spans = '{"tasks": [', []
    for place, task in enumerate(tasks):
        text += ", \n" if place else ""
        start = len(text.encode())
        text += json.dumps(task, ensure_ascii=ascii_only)
        spans.append((start, len(text.encode())))
    data = f"{text}\n]}}".encode()
    for cut in range(len(data) + 1):
        candidates = JSON.parse_tasks(data[:cut].decode(errors="ignore"), problem)
        whole = [Candidate(**task) for task, (_, end) in zip(tasks, spans, strict=True) if end <= cut]
        assert [candidate for candidate in candidates if not candidate.problem] == whole, data[:cut]
        problems = [candidate.problem for candidate in candidates[len(whole) :]]
        if any(start < cut < end for start, end in spans):
            assert problems == [problem], data[:cut]
        elif whole:
            assert problems == [], data[:cut]
        else:
            assert problems in ([], [problem]), data[:cut]
        assert read_candidates(JSON, answer(data[:cut].decode(errors="ignore"), "length")), "each answer counts"


def test_the_text_of_a_cut_task_is_kept_for_the_log() -> None:
    text = json.dumps({"tasks": [TASK, TASK]})[:-4]
    whole, cut = JSON.parse_tasks(text, "truncated")
    assert (whole, cut.problem) == (READ, "truncated")
    assert cut.instruction.endswith(json.dumps(TASK)[:-2])


# Both


@pytest.mark.parametrize(
    "contract", [BLOCKS, BlockContract("chat", 4), JSON], ids=["completions", "chat", "json_schema"]
)
def test_refused_filtered_cut_and_empty_answers_are_different_outcomes(contract: OutputContract) -> None:
    text = GOOD if isinstance(contract, BlockContract) else json.dumps({"tasks": [TASK]})

    def problems(text: str, finish_reason: str) -> list[str | None]:
        return [candidate.problem for candidate in read_candidates(contract, answer(text, finish_reason))]

    assert problems(text, "stop") == [None]
    assert problems(text, "refusal") == ["refusal"]
    assert problems("", "refusal") == ["refusal"]
    assert problems(text[:-5], "length") == ["truncated"]
    assert problems(text[:-5], "content_filter") == ["content_filter"]
    assert problems("", "length") == ["truncated"]
    assert problems("", "content_filter") == ["content_filter"]
    assert problems("", "stop") == ["malformed"]
    assert problems(" \n", "stop") == ["malformed"]


@pytest.mark.parametrize("finish_reason", ["length", "max_tokens", "model_length", "abort", "error", "", "tool_calls"])
@pytest.mark.parametrize("contract", [BLOCKS, JSON], ids=["blocks", "json_schema"])
def test_every_finish_reason_but_stop_is_a_cut(contract: OutputContract, finish_reason: str) -> None:
    text = f"{GOOD} and then" if contract is BLOCKS else json.dumps({"tasks": [TASK, TASK]})[:-5]
    assert read_candidates(contract, answer(text, finish_reason))[-1].problem == "truncated"


def test_a_refusal_is_kept_in_its_words() -> None:
    assert read_candidates(JSON, answer(" I can't do that.\n", "refusal")) == [
        Candidate(instruction="I can't do that.", problem="refusal")
    ]


def normal(task: SeedTask, category: str) -> Candidate:
    return Candidate(" ".join(task.instruction.split()), task.input.strip(), task.output.strip(), category)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_seed_task_survives_both_contracts(family: str) -> None:
    seeds = load_family_seeds(family)
    written = "".join(format_block(number, task) for number, task in enumerate(seeds, start=1))
    assert BLOCKS.parse_tasks(written, None) == [normal(task, "") for task in seeds]
    shown = JSON.build_prompt("", seeds)["messages"][1]["content"].rpartition("\n\n")[0]
    assert JSON.parse_tasks(shown, None) == [normal(task, task.category) for task in seeds]


plain = st.text(max_size=60).map(str.strip)
MARKUP = re.compile(r"###|(Instruction|Input|Output)\s*:|noinput", re.IGNORECASE)
round_trips = st.lists(
    st.builds(
        lambda first, second, third: seed("id", instruction=" ".join(first.split()), input=second, output=third),
        plain.filter(bool),
        plain.filter(lambda text: text.strip("<>") == text),
        plain.filter(bool),
    ).filter(lambda task: not MARKUP.search(f"{task.instruction}\n{task.input}\n{task.output}")),
    max_size=4,
)


@given(round_trips)
def test_tasks_that_are_written_are_read_back(tasks: list[SeedTask]) -> None:
    written = "".join(format_block(number, task) for number, task in enumerate(tasks, start=1))
    assert BLOCKS.parse_tasks(written, None) == [normal(task, "") for task in tasks]
    written = json.dumps({"tasks": [{name: getattr(task, name) for name in FIELDS} for task in tasks]})
    if tasks:
        assert JSON.parse_tasks(written, None) == [normal(task, task.category) for task in tasks]


@settings(max_examples=40)
@given(round_trips)
def test_blocks_cut_at_any_character_give_no_task_that_is_not_whole(tasks: list[SeedTask]) -> None:
    text = "".join(format_block(number, task) for number, task in enumerate(tasks, start=1))
    ends = [
        len("".join(format_block(i, task) for i, task in enumerate(tasks[:number], 1)))
        for number in range(len(tasks) + 1)
    ]
    for cut in range(len(text)):
        good = [candidate for candidate in BLOCKS.parse_tasks(text[:cut], "truncated") if not candidate.problem]
        assert good == [normal(task, "") for task in tasks[: len(good)]]
        assert len(good) >= sum(end <= cut for end in ends[1:]) - 1
