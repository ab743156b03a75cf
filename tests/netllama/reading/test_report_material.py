"""Network reports as tasks and questions: who is shown what, and what the right answer then is."""

from dataclasses import replace

import pytest

from netllama.documents.document import show_chunk
from netllama.reading.reading_records import ReadingTask
from netllama.reading.report_material import make_chunks, make_questions, make_tasks, rank_reports
from netllama.rendering.document_texts import REFUSAL
from testbed.reports.report_records import ReportSet
from tests.support.reading_sets import REPORTS, make_report_chunks, make_report_question, make_set

NOTHING = ReportSet((), ())


ALL = 99
"""More tasks than there are."""


def check_task(task: ReadingTask, reports: ReportSet, top_k: int) -> str:
    """The id of the question that it asks, which is answered as its documents allow."""
    [question] = [each for each in reports.questions if each.question == task.instruction]
    assert 1 <= len(task.documents) <= top_k
    shown = set(question.golden) & set(task.documents)
    assert set(task.golden) == shown
    assert task.output == (f"{question.answer} [{task.documents.index(*shown) + 1}]" if shown else REFUSAL)
    return question.id


@pytest.mark.parametrize("top_k", [1, 3])
@pytest.mark.parametrize("oracle_share", [0.0, 0.5, 1.0])
def test_an_answer_is_learned_where_its_report_is_shown_and_the_refusal_where_it_is_not(
    top_k: int, oracle_share: float
) -> None:
    tasks = make_tasks(reports := make_set(6, 3), ALL, 42, top_k, oracle_share)
    asked = [check_task(task, reports, top_k) for task in tasks]
    assert len(asked) == len(set(asked)), "each is asked once"
    assert {f"rq{number}" for number in range(6)} <= set(asked)
    if oracle_share == 1.0:
        assert all(task.golden for task in tasks)
    if oracle_share == 0.0:
        assert set(asked) == {question.id for question in reports.questions}, "those without a report, too"


def test_there_are_no_more_tasks_than_are_asked_for_and_the_first_ones_stay() -> None:
    tasks = make_tasks(make_set(6, 2), ALL, 42, 1, 1.0)
    for number in range(len(tasks) + 2):
        assert make_tasks(make_set(6, 2), number, 42, 1, 1.0) == tasks[:number]


def test_the_seed_draws_anew_and_the_same_seed_the_same() -> None:
    first = make_tasks(make_set(6, 2), ALL, 1, 3, 0.5)
    assert make_tasks(make_set(6, 2), ALL, 1, 3, 0.5) == first
    assert make_tasks(make_set(6, 2), ALL, 2, 3, 0.5) != first


def test_a_question_without_any_document_is_no_task() -> None:
    reports = ReportSet(REPORTS, tuple(replace(make_report_question(number), distractors=()) for number in range(3)))
    assert make_tasks(reports, ALL, 42, 3, 0.0) == []
    assert [task.documents for task in make_tasks(reports, ALL, 42, 3, 1.0)] != []


def test_each_question_is_asked_in_the_arms_that_it_can_have() -> None:
    reports = make_set(2, 1)
    rankings = rank_reports(make_report_chunks(), reports, 10)
    questions = make_questions(reports, rankings, 42, 3)
    answered, _, absent = questions
    assert list(answered.arms) == ["closed", "oracle", "retrieved", "distractors"]
    assert (answered.arms["closed"], answered.arms["oracle"], answered.golden) == ([], ["r0"], ["r0"])
    assert rankings[0][0] == "r0", "it shares the prefix with the question"
    assert sorted(answered.arms["retrieved"]) == sorted(rankings[0][:3])
    assert sorted(answered.arms["distractors"]) == ["r1", "r2", "r3"]
    assert len(rankings[2]) == 6, "all share the word prefix with it"
    assert absent.arms == {"absent": rankings[2][:3]}
    assert (absent.answer, absent.golden) == ("", [])
    [nothing_found, *_] = make_questions(reports, [[], [], []], 42, 3)
    assert list(nothing_found.arms) == ["closed", "oracle", "distractors"], "no arm of documents without one"


def test_the_report_that_answers_is_shown_in_every_place() -> None:
    """A search finds it first nearly always: a model that trusts what comes first would seem to read."""
    reports, rankings = make_set(2, 1), [["r0", "r1", "r2"]] * 3
    places = {make_questions(reports, rankings, seed, 3)[0].arms["retrieved"].index("r0") for seed in range(20)}
    assert places == {0, 1, 2}
    assert make_questions(reports, rankings, 7, 3) == make_questions(reports, rankings, 7, 3)


def test_a_report_is_a_chunk_with_its_title_as_heading() -> None:
    chunks = make_chunks(REPORTS, lambda texts: [len(text) for text in texts])
    assert [chunk.id for chunk in chunks] == [report.id for report in REPORTS]
    for chunk, report in zip(chunks, REPORTS, strict=True):
        assert show_chunk(chunk.headings, chunk.text) == f"{report.title}\n{report.text}"
        assert chunk.tokens == len(f"{report.title}\n{report.text}")


def test_no_report_is_no_material() -> None:
    assert make_chunks((), lambda texts: [0 for _ in texts]) == []
    assert make_tasks(NOTHING, ALL, 42, 3, 0.8) == []
    assert make_questions(NOTHING, [], 42, 3) == []
