"""Files as people have them: which entries they hold, on which lines."""

import csv
import io
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.errors import StageError
from netllama.question_shapes.question_files import Entry, read_entries


def read(folder: Path, text: str, name: str = "mine.json") -> list[tuple[int, str]]:
    """Of each entry, its line and its question, or its problem."""
    (folder / name).write_text(text, encoding="utf-8")
    return [(each.line, each.problem or each.row["question"]) for each in read_entries(folder / name)]


def test_an_array_of_objects(tmp_path: Path) -> None:
    text = '\ufeff[\n  {"question": "a, ]"},\n\n  {\n    "question": "b"\n  }, {"question": "c"}\n]\n'
    assert read(tmp_path, text) == [(2, "a, ]"), (4, "b"), (6, "c")]
    assert read(tmp_path, text, "mine.jsonl") == [(2, "a, ]"), (4, "b"), (6, "c")]


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.json", "mine.txt"])
def test_a_line_each(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, '{"question": "a"}\r\n\n{"question": "b"}', name) == [(1, "a"), (3, "b")]


def test_one_question(tmp_path: Path) -> None:
    assert read(tmp_path, '{\n"question": "a",\n"options": ["x", "y"]}') == [(1, "a")]
    assert read(tmp_path, '{"question": "a"}', "mine.jsonl") == [(1, "a")]


def test_questions_by_name_as_teleqna_has_them(tmp_path: Path) -> None:
    rows = {f"question {number}": {"question": f'"question {number}": text'} for number in range(3)}
    found = read(tmp_path, json.dumps(rows, indent=2))
    assert found == [(2, '"question 0": text'), (5, '"question 1": text'), (8, '"question 2": text')]


def test_lists_of_questions_by_name(tmp_path: Path) -> None:
    text = '{"version": 1,\n"choice": [{"question": "a"},\n{"question": "b"}],\n"blank": [{"question": "c"}]}'
    assert read(tmp_path, text) == [(1, "not a JSON object but 1"), (2, "a"), (3, "b"), (4, "c")]


def test_in_an_object_nothing_is_lost_and_nothing_else_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, '{"q": {"question": "a"},\n"q": {"question": "b"}}') == [(1, "a"), (2, "b")]
    twice = "key 'answer' stands twice in one object; keep the right one"
    assert read(tmp_path, '{"q": {"question": "a", "answer": 1, "answer": 2}}') == [(1, twice)]
    text = '{"info": {"data": [{"question": "x"}]},\n"data": [],\n"d\\u00e4": [{"question": "a"}]}'
    (tmp_path / "mine.json").write_text(text)
    assert [(each.line, each.row) for each in read_entries(tmp_path / "mine.json")] == [
        (1, {"data": [{"question": "x"}]}),
        (3, {"question": "a"}),
    ]


def test_a_broken_first_line_is_one_of_many(tmp_path: Path) -> None:
    found = read(tmp_path, '{"question": \n{"question": "b"}', "mine.jsonl")
    assert found == [(1, "not valid JSON (Expecting value); write one object per line"), (2, "b")]


@pytest.mark.parametrize(("name", "between"), [("mine.csv", ","), ("mine.CSV", ";"), ("mine.tsv", "\t")])
def test_a_table(tmp_path: Path, name: str, between: str) -> None:
    lines = ["Question,A,B,,answer", '"a, ""b""\nc",16,,left out,A', ",,,,", "d,1,2,,A,B", " e ,1, 2,,"]
    rows = [line.replace(",", between) if "a," not in line else line for line in lines]
    rows[1] = between.join(['"a, ""b""\nc"', "16", "", "left out", "A"])
    (tmp_path / name).write_bytes("\r\n".join(rows).encode("utf-8-sig"))
    assert read_entries(tmp_path / name) == [
        Entry(2, {"Question": 'a, "b"\nc', "A": "16", "answer": "A"}),
        Entry(5, {}, "cells: 6, columns of the table: 5"),
        Entry(6, {"Question": "e", "A": "1", "B": "2"}),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no questions in it"),
        ("question,answer\n", "no questions in it"),
        ("What is BGP?,a,b,A\n", "mine.csv:1: no column is called question, statement or instruction"),
        ("question,A,A,answer\nq,1,2,A\n", "mine.csv:1: two columns are called A"),
        ('question,answer\n"a,b\nc,d\n', "mine.csv:3: not a valid table"),
        ('question,answer\n"a"b,c\n', "mine.csv:2: not a valid table"),
    ],
)
def test_a_table_that_is_none_is_an_error_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(StageError) as raised:
        read(tmp_path, text, "mine.csv")
    assert said in str(raised.value)


@given(
    rows=st.lists(
        st.lists(st.text(st.characters(exclude_characters="\0\r", codec="utf-8")), min_size=2, max_size=2), min_size=1
    )
)
def test_a_table_is_read_as_pandas_reads_it(rows: list[list[str]]) -> None:
    import pandas

    text = io.StringIO(newline="")
    csv.writer(text).writerows([["question", "answer"], *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.csv"
        path.write_text(text.getvalue(), encoding="utf-8", newline="")
        if not any(cell.strip() for row in rows for cell in row):
            with pytest.raises(StageError, match="no questions in it"):
                read_entries(path)
            return
        found = [each.row for each in read_entries(path)]
        frame = pandas.read_csv(path, dtype=str, keep_default_na=False)
    records = [{key: cell.strip() for key, cell in row.items() if cell.strip()} for row in frame.to_dict("records")]
    assert found == [row for row in records if row]


def test_bad_lines_are_named_and_the_others_read(tmp_path: Path) -> None:
    lines = ['{"question": "a"}', '{"question": ', '["x"]', '{"question": NaN}', '{"question": 1, "question": 2}']
    lines += ['{"question": "\\ud83d"}', '{"question": "b"}']
    assert read(tmp_path, "\n".join(lines), "mine.jsonl") == [
        (1, "a"),
        (2, "not valid JSON (Expecting value); write one object per line"),
        (3, 'not a JSON object but ["x"]'),
        (4, "NaN is no value of JSON"),
        (5, "key 'question' stands twice in one object; keep the right one"),
        (6, "half a surrogate pair (\\ud800 to \\udfff) is not a character; remove it"),
        (7, "b"),
    ]


def test_bad_elements_of_an_array_are_named_and_the_others_read(tmp_path: Path) -> None:
    text = '[\n{"question": "a"},\n3,\n{"answer": 1, "answer": 2},\n{"question": "b"}]'
    assert read(tmp_path, text) == [
        (2, "a"),
        (3, "not a JSON object but 3"),
        (4, "key 'answer' stands twice in one object; keep the right one"),
        (5, "b"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no questions in it"),
        ("[]", "no questions in it"),
        ("{}", "no questions in it"),
        ('[\n{"question": "a"}\n', "mine.json:3: not valid JSON"),
        ('[\n{"question": "a"},\n{"question" "b"}]', "mine.json:3: not valid JSON"),
        ('[{"question": "a"}]\n]', "mine.json:2: not valid JSON (something follows the end of the array)"),
        ('{\n"question": "a",\n"answer": }', "mine.json:3: not valid JSON"),
    ],
)
def test_a_file_that_is_no_json_is_an_error_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(StageError) as raised:
        read(tmp_path, text)
    assert said in str(raised.value)


def test_a_file_that_is_not_there_or_no_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no such file"):
        read_entries(tmp_path / "none.json")
    with pytest.raises(StageError, match=r"mine\.XLSX: a spreadsheet; save it as CSV"):
        read_entries(tmp_path / "mine.XLSX")
    (tmp_path / "mine.json").write_bytes(b'[{"question": "\xff"}]')
    with pytest.raises(StageError, match="not UTF-8"):
        read_entries(tmp_path / "mine.json")
