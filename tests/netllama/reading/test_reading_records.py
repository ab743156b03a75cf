"""Tasks with documents: what is none, and what becomes of one that loses its distractors."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.records import parse_as
from netllama.reading.reading_records import ReadingQuestion, ReadingTask
from netllama.rendering.document_texts import REFUSAL, cite_document


def make_task(documents: list[str], golden: list[str], output: str) -> ReadingTask:
    row = {"id": "t", "family": "f", "instruction": "Who?", "documents": documents, "golden": golden, "output": output}
    return parse_as(ReadingTask, row)


@given(st.lists(st.integers(0, 30).map("d{}".format), min_size=1, max_size=6, unique=True), st.data())
def test_distractors_go_from_the_last_to_the_first_and_the_citation_goes_with_its_document(
    documents: list[str], data: st.DataObject
) -> None:
    golden = data.draw(st.lists(st.sampled_from(documents), max_size=3, unique=True))
    asked = data.draw(st.permutations([*golden, *golden[:1], *[""] * (not golden or data.draw(st.booleans()))]))

    def write(shown: list[str]) -> str:
        """Answers to questions, each of a golden document or of none."""
        return "\n".join([cite_document("AS1 [7] x", shown.index(name) + 1) if name else REFUSAL for name in asked])

    output = write(documents)
    task: ReadingTask | None = make_task(documents, golden, output)
    left = list(documents)
    while task:
        assert task.documents == left
        assert task.output == write(left)
        assert ReadingTask.model_validate(task.model_dump()) == task
        if task := task.drop_distractor():
            left.remove([name for name in left if name not in golden][-1])
    assert sorted(left) == sorted(golden or documents[:1])


@pytest.mark.parametrize(
    ("documents", "golden", "output", "said"),
    [
        ([], [], REFUSAL, "documents: one or more, none twice"),
        (["a", "a"], [], REFUSAL, "documents: one or more, none twice"),
        (["a", "b"], ["c"], "AS1 [1]", "golden: some of the documents, or none"),
        (
            ["a", "b"],
            ["a", "b"],
            "1. AS1 [1]\n2. AS2",
            r"output: no answer ends in \[2\], the number of a golden document",
        ),
        (["a", "b"], [], "AS1 [1]", f"output: no document holds an answer, and it does not say '{REFUSAL}'"),
        (["a", "b"], ["b"], "AS1 [1]", r"output: no answer ends in \[2\], the number of a golden document"),
        (["a", "b"], ["b"], "AS1", r"output: no answer ends in \[2\], the number of a golden document"),
        (["a", "b"], ["b"], " ", "output: empty"),
    ],
)
def test_a_task_that_fits_itself_not_is_refused(
    documents: list[str], golden: list[str], output: str, said: str
) -> None:
    with pytest.raises(ValueError, match=f"^{said}$"):
        make_task(documents, golden, output)


def test_a_question_has_known_arms_only() -> None:
    row: dict[str, Any] = {
        "id": "q",
        "kind": "report",
        "family": "f",
        "question": "Who?",
        "answer": "AS1",
        "choices": [],
    }
    row |= {"golden": ["a"], "arms": {"closed": [], "oracle": ["a"]}}
    assert parse_as(ReadingQuestion, row).arms["oracle"] == ["a"]
    with pytest.raises(ValueError, match=r"^arms\.open\.\[key\]: input should be 'closed', 'oracle'"):
        parse_as(ReadingQuestion, row | {"arms": {"open": []}})
