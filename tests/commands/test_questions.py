"""`python -m commands.questions`: a suite of anyone's files, and what it says of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from commands import questions
from commands.questions import main
from netllama.core.errors import StageError
from netllama.core.files import write_text
from netllama.core.records import load_questions

CHOICE = {"question": "What carries BGP?", "options": ["a) UDP", "b) TCP"], "answer": "b", "source": "me"}
BLANK = {"question": "BGP uses port _____.", "answer": "179"}
UNCLEAR = {"question": "Which layer?", "options": ["3", "4", "5", "6"], "answer": 2}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, *rows: dict[str, Any]) -> str:
    Path(name).write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return name


def test_a_file_becomes_a_suite_that_evaluate_can_read(capsys: pytest.CaptureFixture[str]) -> None:
    main([write("mine.jsonl", CHOICE, UNCLEAR, BLANK)])
    questions = load_questions(Path("data/questions"))
    assert [(each.kind, each.answer, each.family) for each in questions] == [
        ("choice", "B", "mine"),
        ("blank", "179", "mine"),
    ]
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "mine.jsonl:1: choice: B, TCP"
    assert said[1].startswith("mine.jsonl:2: refused: answer 2 is an index, and nothing in this file shows")
    assert said[2:] == [
        "mine.jsonl:3: blank: 179",
        "mine.jsonl: 2 read (1 choice, 1 blank), 1 refused; keys without a use: source (1)",
        "data/questions/mine.jsonl: 2 questions written",
    ]


def test_several_files_become_one_suite_and_say_what_they_have_in_common(capsys: pytest.CaptureFixture[str]) -> None:
    changed = CHOICE | {"answer": "a"}
    main([write("a.jsonl", CHOICE, CHOICE), write("b.json", BLANK, changed), "--out", "data/questions/both.jsonl"])
    assert [each.answer for each in load_questions(Path("data/questions"))] == ["B", "179"]
    said = capsys.readouterr().out
    assert "a.jsonl:2: refused: asks the same as a.jsonl:1" in said
    assert "b.json:2: refused: asks the same as a.jsonl:1" in said


def test_capitals_white_space_and_the_order_of_options_make_no_other_question(
    capsys: pytest.CaptureFixture[str],
) -> None:
    same = {"question": " what  carries bgp?", "options": ["tcp", "Udp"], "answer": "A"}
    wrong = CHOICE | {"answer": "a"}
    other = same | {"answer": "B"}
    main([write("a.jsonl", CHOICE, same, wrong, other)])
    said = capsys.readouterr().out
    assert "a.jsonl:2: refused: asks the same as a.jsonl:1\n" in said
    assert "a.jsonl:3: refused: asks the same as a.jsonl:1, which has another answer; one of them is wrong" in said
    assert "a.jsonl:4: note: asks nearly the same as a.jsonl:1, and has another answer" in said


def test_of_two_at_once_with_one_name_one_writes_and_the_other_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    convert = questions.convert_entries
    theirs = Path("data/questions/mine.jsonl")

    def be_overtaken(*arguments: Any) -> Any:
        if not theirs.exists():
            write_text(theirs, "theirs")
        return convert(*arguments)

    monkeypatch.setattr(questions, "convert_entries", be_overtaken)
    with pytest.raises(StageError, match=r"mine\.jsonl: is there already"):
        main([write("mine.jsonl", CHOICE)])
    assert theirs.read_text() == "theirs"


def test_the_user_says_what_indices_count_from() -> None:
    main([write("mine.jsonl", UNCLEAR), "--first-index", "0"])
    assert load_questions(Path("data/questions"))[0].answer == "C"


def test_the_same_files_give_the_same_bytes() -> None:
    main([write("mine.jsonl", CHOICE, BLANK)])
    first = Path("data/questions/mine.jsonl").read_bytes()
    main(["mine.jsonl", "--out", "again/mine.jsonl"])
    assert Path("again/mine.jsonl").read_bytes() == first
    main(["data/questions/mine.jsonl", "--out", "third/mine.jsonl"])
    assert Path("third/mine.jsonl").read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bad.jsonl"], "bad.jsonl: no entry could be read; the lines above say why"),
        (["mine.jsonl", "--out", "there.jsonl"], "there.jsonl: is there already; remove it, or say --out"),
        (["mine.jsonl", "--out", "suite.json"], "suite.json: a suite is called by letters, digits, - and _"),
        (["my questions.jsonl"], "data/questions/my questions.jsonl: a suite is called by letters"),
        (["none.jsonl"], "none.jsonl: no such file"),
    ],
)
def test_an_error_is_one_line_and_writes_nothing(arguments: list[str], said: str) -> None:
    write("mine.jsonl", CHOICE)
    write("bad.jsonl", {"question": "What?"}, {"answer": "x"})
    write("there.jsonl", BLANK)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    with pytest.raises(StageError) as raised:
        main(arguments)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
