"""Each format that instruction data comes in: what becomes of a row, what is counted, and why a row is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.files import write_jsonl
from netllama.splitting.drops import BadRow
from netllama.splitting.extra import load_extra
from netllama.splitting.foreign_formats import read_turn

ASKED, SAID = "What is a MED?", "A metric between two networks."
MORE, AGAIN = "And LOCAL_PREF?", "A preference inside of one."
SYSTEM = "You are a network engineer."


def human(text: Any) -> dict[str, Any]:
    return {"from": "human", "value": text}


def gpt(text: Any) -> dict[str, Any]:
    return {"from": "gpt", "value": text}


def say(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


READ: list[tuple[str, dict[str, Any], tuple[str, str], int]] = [
    ("Alpaca", {"instruction": ASKED, "input": "MED 50", "output": SAID}, (ASKED, "MED 50"), 0),
    ("Dolly", {"instruction": ASKED, "context": "MED 50", "response": SAID, "category": "qa"}, (ASKED, "MED 50"), 0),
    ("Dolly", {"instruction": ASKED, "context": "", "response": SAID}, (ASKED, ""), 0),
    ("prompt/completion", {"prompt": ASKED, "completion": SAID}, (ASKED, ""), 0),
    ("prompt/completion", {"prompt": [say("user", ASKED)], "completion": [say("assistant", SAID)]}, (ASKED, ""), 0),
    ("prompt/response", {"prompt": ASKED, "response": SAID}, (ASKED, ""), 0),
    ("question/answer", {"question": ASKED, "context": "MED 50", "answer": SAID}, (ASKED, "MED 50"), 0),
    ("ShareGPT", {"id": "x", "conversations": [human(ASKED), gpt(SAID)]}, (ASKED, ""), 0),
    ("ShareGPT", {"conversations": [human(ASKED), gpt(SAID), human(MORE), gpt(AGAIN)]}, (ASKED, ""), 2),
    ("ShareGPT", {"conversations": [gpt("Hello."), human(ASKED), gpt(SAID)]}, (ASKED, ""), 1),
    ("ShareGPT", {"conversations": [say("user", ASKED), say("assistant", SAID)]}, (ASKED, ""), 0),
    (
        "ShareGPT",
        {"conversations": [{"from": "system", "value": SYSTEM}, human(ASKED), gpt(SAID)]},
        (f"{SYSTEM}\n\n{ASKED}", ""),
        0,
    ),
    ("ShareGPT", {"conversations": [human(ASKED), gpt(SAID)], "system": SYSTEM}, (f"{SYSTEM}\n\n{ASKED}", ""), 0),
    ("chat", {"messages": [say("user", ASKED), say("assistant", SAID)]}, (ASKED, ""), 0),
    ("chat", {"prompt": "else", "messages": [say("user", ASKED), say("assistant", SAID)]}, (ASKED, ""), 0),
    (
        "chat",
        {"messages": [say("system", SYSTEM), say("user", ASKED), say("assistant", SAID), say("user", MORE)]},
        (f"{SYSTEM}\n\n{ASKED}", ""),
        1,
    ),
    ("chat", {"messages": [say("user", [{"type": "text", "text": ASKED}]), say("assistant", SAID)]}, (ASKED, ""), 0),
    ("Alpaca", {"instruction": ASKED, "output": SAID, "system": SYSTEM}, (f"{SYSTEM}\n\n{ASKED}", ""), 0),
    ("Alpaca", {"instruction": ASKED, "output": SAID, "system": " ", "history": []}, (ASKED, ""), 0),
    ("Alpaca", {"instruction": MORE, "input": "x", "output": AGAIN, "history": [[ASKED, SAID]]}, (ASKED, ""), 2),
]


@pytest.mark.parametrize(("name", "row", "asked", "left"), READ)
def test_a_row_of_each_format_is_read_and_what_is_left_of_it_is_counted(
    tmp_path: Path, name: str, row: dict[str, Any], asked: tuple[str, str], left: int
) -> None:
    write_jsonl(tmp_path / "mine.jsonl", [row])
    found = load_extra(tmp_path / "mine.jsonl")
    ((task, _),) = found.rows
    assert (task.instruction, task.input, task.output) == (*asked, SAID)
    assert found.reading.formats == {name: 1}
    assert (found.reading.cut, found.reading.messages_left) == (int(left > 0), left)
    assert found.reading.systems == asked[0].startswith(SYSTEM)


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"conversations": []}, "no_turn", "no message of a user"),
    ({"conversations": [human(ASKED)]}, "no_turn", "message 1: nobody answers it"),
    ({"messages": [say("user", ASKED), say("user", MORE)]}, "no_turn", "message 2: from user, expected"),
    ({"messages": [say("user", ASKED), say("tool", "5")]}, "no_turn", "message 2: from tool, expected"),
    ({"messages": ["hello"]}, "no_turn", "message 1: expected an object with role and content, or from and value"),
    ({"messages": [say("user", ASKED), say("assistant", None)]}, "no_output", "output: missing or empty"),
    ({"messages": [say("user", [{"type": "image_url"}]), say("assistant", SAID)]}, "wrong_type", "message 1: has"),
    ({"messages": [say("user", 5), say("assistant", SAID)]}, "wrong_type", "instruction: expected a text, not 5"),
    ({"instruction": ASKED, "output": SAID, "history": ["hello"]}, "wrong_type", "history: expected pairs of texts"),
    ({"instruction": ASKED, "output": SAID, "history": "hello"}, "wrong_type", "history: expected pairs of texts"),
    ({"instruction": ASKED, "output": SAID, "system": 5}, "wrong_type", "system: expected a text, not 5"),
    ({"prompt": ASKED, "chosen": SAID, "rejected": MORE}, "unknown_keys", "no format that is read has these keys"),
    ({"text": "### Human: x ### Assistant: y"}, "unknown_keys", 'no format that is read has these keys: "text" (whole'),
    ({"q": ASKED, "a": SAID}, "unknown_keys", 'no format that is read has these keys: "a, q" (formats: Alpaca, Dolly'),
]


@pytest.mark.parametrize(("row", "reason", "said"), BAD)
def test_a_row_that_is_in_no_format_or_has_no_turn_says_why(
    tmp_path: Path, row: dict[str, Any], reason: str, said: str
) -> None:
    write_jsonl(tmp_path / "mine.jsonl", [{"instruction": "a", "output": "b"}, row])
    (drop,) = load_extra(tmp_path / "mine.jsonl").drops
    assert drop.reason == reason
    assert drop.detail.startswith(said)
    assert drop.origin
    assert drop.origin.number == 2


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
MESSAGE = st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), TEXTS)


@given(raw=st.lists(MESSAGE, max_size=7))
def test_of_a_conversation_the_first_question_and_the_answer_behind_it_are_taken(raw: list[tuple[str, str]]) -> None:
    roles = [role for role, _ in raw]
    row = {"messages": [say(role, text) for role, text in raw]}
    first = roles.index("user") if "user" in roles else -1
    if first < 0 or roles[first + 1 : first + 2] != ["assistant"]:
        with pytest.raises(BadRow) as raised:
            read_turn(row)
        assert raised.value.reason == "no_turn"
        return
    turn = read_turn(row)
    assert (turn.instruction, turn.output) == (raw[first][1], raw[first + 1][1])
    leading = next(place for place, role in enumerate(roles) if role != "system")
    assert turn.messages_left == len(raw) - leading - 2
    assert (turn.system or "") == "\n\n".join(text for _, text in raw[:leading])


def test_a_file_of_several_formats_is_told_with_what_was_left_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [row | {"family": str(number)} for number, (_, row, _, _) in enumerate(READ)]
    write_jsonl(path, [*rows, {"instruction": ASKED, "output": f"{SAID}</s>"}])
    reading = load_extra(path).reading
    (line,) = reading.describe()
    assert line == (
        f"{path}: rows: 6 ShareGPT, 5 Alpaca, 4 chat, 2 Dolly, 2 prompt/completion, 1 prompt/response, "
        "1 question/answer; 4 cut to the first turn, 6 messages are left out; "
        "4 with a system text, which stands in front of the instruction; "
        "1 without the <s>, </s>, <bos> or <eos> around a text"
    )
    assert reading.count() == {
        "formats": {"Alpaca": 5, "Dolly": 2, "prompt/completion": 2, "prompt/response": 1, "question/answer": 1,
                    "ShareGPT": 6, "chat": 4},
        "cut_to_first_turn": 4, "messages_left_out": 6, "with_system": 4, "without_marks": 1,
    }  # fmt: skip


def test_of_plain_alpaca_rows_there_is_nothing_to_tell(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "mine.jsonl", [{"instruction": ASKED, "output": SAID}])
    assert [*load_extra(tmp_path / "mine.jsonl").reading.describe()] == []


@pytest.mark.parametrize(
    ("output", "kept"),
    [
        (f"{SAID}</s>", SAID),
        (f"<s> {SAID} </s>\n", SAID),
        (f"<bos>{SAID}<eos>", SAID),
        (f"{SAID}<|endoftext|>", SAID),
        (f"{SAID} </s></s>", SAID),
        ("Use <s>this</s> that.", "Use <s>this</s> that."),
        ("Not this: <s>struck out</s>", "Not this: <s>struck out</s>"),
        (r"re.match(r'(?P<s>\d+)', text)", r"re.match(r'(?P<s>\d+)', text)"),
        ("std::vector<s> names;", "std::vector<s> names;"),
    ],
)
def test_marks_around_an_answer_are_taken_off_and_html_and_code_are_left_alone(
    tmp_path: Path, output: str, kept: str
) -> None:
    write_jsonl(tmp_path / "mine.jsonl", [{"instruction": ASKED, "output": output}])
    found = load_extra(tmp_path / "mine.jsonl")
    ((row, _),) = found.rows
    assert row.output == kept
    assert found.reading.marks == (output != kept)


@pytest.mark.parametrize("mark", ["</s>", "<s>", "<eos>", "<bos>", "</s><s>"])
def test_a_mark_inside_of_an_answer_is_two_texts_run_together(tmp_path: Path, mark: str) -> None:
    rows = [{"instruction": ASKED, "output": SAID}, {"instruction": ASKED, "output": f"{SAID} {mark} {AGAIN}"}]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (drop,) = load_extra(tmp_path / "mine.jsonl").drops
    assert drop.reason == "prompt_leakage"
    assert drop.detail.startswith("output: '<")
