"""Tasks by program as rows of train: how many, on which side, and not those that give a question away."""

import pytest

from netllama.core.records import Question, parse_instruction
from netllama.core.sections import ContaminationParams
from netllama.splitting.groups import Assignment
from netllama.splitting.program_rows import add_program_rows, make_program_rows

CONTAMINATION = ContaminationParams(similarity_threshold=0.7, ngram=13)


def make_assignment() -> Assignment:
    return Assignment({"train": [], "val": [], "test": []}, {}, [])


def make_question(text: str) -> Question:
    return Question(
        id="q", family="f", kind="open", question=text, options=[], answer="a", aliases=[], key_facts=[], reference="",
        cluster="",
    )  # fmt: skip


@pytest.mark.parametrize("number", [0, 1, 13])
def test_so_many_tasks_go_to_train_and_to_no_other_side(number: int) -> None:
    found = make_assignment()
    assert add_program_rows(found, number, 42, [make_question("What is an island?")], CONTAMINATION) == []
    assert {name: len(rows) for name, rows in found.sides.items()} == {"train": number, "val": 0, "test": 0}
    assert found.groups == {row.id: [row.id] for row in found.sides["train"]}
    assert {row.family for row in found.sides["train"]} <= {"testbed"}


def test_a_row_is_read_back_as_it_was_written() -> None:
    rows = make_program_rows(6, 7)
    assert [row.category for row in rows] == ["decode", "origin", "percentile", "retransmissions", "filter", "repair"]
    assert [parse_instruction(row.model_dump()) for row in rows] == rows
    assert make_program_rows(2, 7) == rows[:2]
    assert make_program_rows(2, 8) != rows[:2]


def test_a_task_that_gives_a_question_away_is_dropped_and_named() -> None:
    rows, found = make_program_rows(3, 42), make_assignment()
    (drop,) = add_program_rows(found, 3, 42, [make_question(rows[1].instruction)], CONTAMINATION)
    assert (drop.reason, drop.id) == ("near_question", rows[1].id)
    assert [row.id for row in found.sides["train"]] == [rows[0].id, rows[2].id]
