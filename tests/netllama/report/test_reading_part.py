"""Questions with documents on the page: shares of both models, marks without a model, and what each was shown."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from netllama.core.errors import StageError
from netllama.core.files import read_json, read_jsonl, write_json, write_jsonl, write_text
from netllama.core.metrics import read_details, write_metrics
from netllama.report.page import build_report
from netllama.report.reading_inputs import read_marks, read_reading
from netllama.report.reading_part import make_reading_part
from netllama.report.report_inputs import ReportPaths, read_inputs
from netllama.scoring.refusal_balance import read_balance
from tests.support.report_files import read_embedded, write_evaluation, write_reading


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> ReportPaths:
    paths = write_evaluation(tmp_path_factory.mktemp("evaluation"))
    write_reading(paths)
    return paths


@pytest.fixture(scope="module")
def page(evaluation: ReportPaths) -> str:
    return build_report(evaluation)


def test_shares_are_of_the_answers_that_they_speak_of(evaluation: ReportPaths) -> None:
    inputs = read_inputs(evaluation)
    part = make_reading_part(inputs.pairs, inputs.marks)
    assert part is not None
    found = {each.name: (each.answers, each.base.value, each.tuned.value) for each in part.measures}
    # Base answers AS99 to even questions and AS64500 [1] to odd ones; tuned refuses or writes AS64500 [2].
    # The right document is the first one in the oracle arm, and in the retrieved arm of question 0 alone.
    assert found == {
        "right without documents": (4, 0.5, 0.5),
        "right with the right document": (4, 0.5, 0.0),
        "right with found documents": (4, 0.0, 0.5),
        "right with wrong documents only": (4, 0.0, 0.5),
        "right where no report answers": (2, 0.0, 0.5),
        "right refusals: no document says it": (6, 0.0, 0.5),
        "false refusals: a document says it": (8, 0.0, 0.5),
        "cites the right document": (8, 0.25, 0.25),
        "right where document 1 says it": (1, 0.0, 0.0),
        "right where document 2 says it": (3, 0.0, pytest.approx(2 / 3)),
    }
    assert all(
        0 <= side.low <= side.value <= side.high <= 1 for each in part.measures for side in (each.base, each.tuned)
    )


def test_the_page_has_the_suites_by_arms_the_shares_and_the_marks(page: str) -> None:
    suites = [f"network reports {arm}" for arm in ("without documents", "with found documents", "that hold no answer")]
    for suite in [*suites, "four-choice questions with found documents"]:
        assert f"<strong>{suite}</strong>" in page, "among the verdicts"
        assert f'<th scope="row">{suite}</th>' in page, "in the table"
        assert f">{suite}</text>" in page, "in the charts"
    assert re.search(r'<th scope="row">false refusals: a document says it</th><td>8</td><td>0\.000 .*<td>0\.500 ', page)
    assert "What needs no model, on 4 questions" in page
    for mark in ("<td>0.875</td>", "<td>0.125</td>", "first 10 found</th><td>0.750 (0.500 to 0.900)</td>"):
        assert mark in page
    assert '<a href="#reading">Reading</a>' in page
    said = (
        "<p>The tuned model's refusals: +1.25 on the logit that opens one, and 4.00 more where no document has any word"
    )
    said += " of the question; on networks of validation it refuses"
    shares = "5% of 20 questions with the document that answers (without it 0%), and 80% of 10 without one (70%)."
    assert f"{said} {shares}" in page


def test_an_answer_is_shown_with_its_question_and_documents_and_which_one_is_right(page: str) -> None:
    rows = {(row["item"], row["arm"]): row for row in read_embedded(page)}
    row = rows["rq1", "with found documents"]
    assert row["question"] == "Which AS originates 10.1.0.0/16?"
    assert row["documents"] == [
        {"id": "r5", "title": "Origin of 10.5.0.0/16", "right": False},
        {"id": "r1", "title": "Origin of 10.1.0.0/16", "right": True},
    ]
    assert rows["rq1", "without documents"]["documents"] == []
    assert [each["right"] for each in rows["rq0x", "that hold no answer"]["documents"]] == [False]  # type: ignore[attr-defined]
    closed = rows["q-bgp-000", "with found documents"]
    assert str(closed["question"]).startswith("How long is a marker?"), "with its options, as without documents"
    assert [each["id"] for each in closed["documents"]] == ["r1", "r0"]  # type: ignore[attr-defined]
    assert rows["q-bgp-000", ""]["documents"] == []
    assert '<select name="arm">' in page
    assert "<option>with found documents</option>" in page


def test_closed_questions_with_documents_are_no_part_of_the_calibration(page: str) -> None:
    assert "Four-choice questions, 60 items." in page


def test_without_documents_there_is_no_such_part(tmp_path: Path) -> None:
    page = build_report(write_evaluation(tmp_path))
    assert 'id="reading"' not in page
    assert 'name="arm"' not in page


@pytest.mark.parametrize("part", ["asked", "chunks", "search", "refusals"])
def test_what_is_missing_is_left_out_with_a_line_that_says_what_to_run(
    part: str, evaluation: ReportPaths, tmp_path: Path
) -> None:
    lacking = build_report(replace(evaluation, **{part: tmp_path / "nothing"}))
    stage = "evaluate" if part == "refusals" else "retrieve"
    assert f"{tmp_path / 'nothing'} is not there: run `dvc repro {stage}`" in lacking
    assert 'id="reading"' in lacking
    assert ("What needs no model" in lacking) == (part != "search")


def test_a_run_that_searched_nothing_has_no_marks(tmp_path: Path) -> None:
    write_metrics(path := tmp_path / "retrieve.json", {}, {"questions": 0})
    assert read_marks(path) is None


def test_broken_files_are_one_clear_line(evaluation: ReportPaths, tmp_path: Path) -> None:
    details = read_details(evaluation.search)
    write_metrics(
        path := tmp_path / "retrieve.json", {}, details | {"reports": details["reports"] | {"parser": "much"}}
    )
    write_json(refusals := tmp_path / "refusals.json", read_json(evaluation.refusals) | {"bias": "much"})
    with pytest.raises(StageError, match=r"refusals\.json: bias: input should be .*; run `dvc repro -f evaluate`"):
        read_balance(refusals)
    write_json(refusals, {"none": "nothing was asked"})
    assert read_balance(refusals) is None
    with pytest.raises(StageError, match=r"retrieve\.json: parser: input should be .*; run `dvc repro retrieve`"):
        read_marks(path)
    write_jsonl(asked := tmp_path / "asked.jsonl", [read_jsonl(evaluation.asked)[0] | {"arms": {"best": []}}])
    with pytest.raises(StageError, match=r"asked\.jsonl:1: arms\.best"):
        read_reading(asked, evaluation.chunks)
    write_text(chunks := tmp_path / "chunks.jsonl", "{}\n")
    with pytest.raises(StageError, match=r"chunks\.jsonl:1: id: field required"):
        read_reading(evaluation.asked, chunks)


def test_the_same_inputs_give_the_same_bytes(page: str, evaluation: ReportPaths) -> None:
    assert build_report(evaluation) == page
