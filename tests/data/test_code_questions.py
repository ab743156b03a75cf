"""Code questions: the solution of each holds, a second one agrees with it, and what knows nothing fails.

tests/data/second_solutions/ID.py was written from the question's text alone, by somebody who had not seen the first.
That a solution does the same in the sandbox, test_in_sandbox.py shows by samples.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from netllama.code_tasks.code_answers import RESULT, VARIANTS, Outcome, find_differences, judge_outcome, run_answer
from netllama.core.records import Question
from netllama.sandbox.sandbox import Sandbox
from tests.support.clones import ROOT
from tests.support.shipped_data import load_shipped_questions

QUESTIONS: dict[str, Question] = {
    question.id: question for question in load_shipped_questions() if question.kind == "code"
}
SECOND = {
    path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "data" / "second_solutions").glob("*.py")
}
FIRST, OTHER = VARIANTS

Answer = Callable[[str, int], Outcome]
each = pytest.mark.parametrize("name", sorted(QUESTIONS), indirect=True)
first = pytest.mark.parametrize("name", sorted(QUESTIONS)[:1], indirect=True)


@pytest.fixture(scope="module")
def name(request: pytest.FixtureRequest) -> str:
    """The id of the question at hand."""
    return str(request.param)


@pytest.fixture(scope="module")
def answer(
    name: str, networks: Callable[[int], Path], warm: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Answer:
    """`answer(script, variant)` to the question at hand; the same script is run once."""
    folder = tmp_path_factory.mktemp("code")

    @cache
    def run(script: str, variant: int) -> Outcome:
        with tempfile.TemporaryDirectory(dir=folder) as place:  # 9 MB of network each
            return run_answer(QUESTIONS[name], script, networks(variant), Path(place) / "task", warm)

    return run


def constant(value: Any) -> str:
    return f"open({RESULT!r}, 'w').write({json.dumps(value)!r})"


def emptied(value: Any) -> Any:
    """The form of a result without what it says."""
    if isinstance(value, dict):
        return {key: emptied(item) for key, item in value.items()}
    return [] if isinstance(value, list) else type(value)()


def test_there_are_40_code_questions_and_each_has_a_second_solution() -> None:
    assert len(QUESTIONS) >= 40
    assert SECOND.keys() == QUESTIONS.keys()


@each
def test_the_solution_ends_well_on_every_network_and_misuses_nothing(name: str, answer: Answer) -> None:
    for variant in VARIANTS:
        outcome = answer(QUESTIONS[name].answer, variant)
        assert outcome.problem == ""
        assert outcome.run.select_events("misuse") == []
        assert outcome.run.stderr == ""
        assert emptied(outcome.value) != outcome.value, "a result that says nothing"


@each
def test_a_second_solution_written_from_the_text_alone_is_right(name: str, answer: Answer) -> None:
    assert SECOND[name].strip() != QUESTIONS[name].answer.strip()
    for variant in VARIANTS:
        found, right = answer(SECOND[name], variant), answer(QUESTIONS[name].answer, variant)
        assert judge_outcome(found, right) == ""


@each
def test_a_result_is_right_on_its_own_network_and_wrong_on_the_other(name: str, answer: Answer) -> None:
    """So that no constant is right on both."""
    one, other = (answer(QUESTIONS[name].answer, variant) for variant in VARIANTS)
    assert (judge_outcome(one, one), judge_outcome(other, other)) == ("", "")
    assert judge_outcome(other, one) != ""
    assert judge_outcome(one, other) != ""


@each
def test_the_form_of_a_result_without_its_values_is_wrong(name: str, answer: Answer) -> None:
    right = answer(QUESTIONS[name].answer, FIRST)
    assert judge_outcome(replace(right, value=emptied(right.value)), right) != ""


@first
def test_a_script_that_writes_a_constant_is_judged_by_it_and_an_empty_script_has_no_result(
    name: str, answer: Answer
) -> None:
    rights = [answer(QUESTIONS[name].answer, variant) for variant in VARIANTS]
    assert judge_outcome(answer(constant(rights[0].value), FIRST), rights[0]) == ""
    assert judge_outcome(answer(constant(rights[0].value), OTHER), rights[1]) != ""
    assert judge_outcome(answer("", FIRST), rights[0]) == f"no {RESULT}"


@pytest.mark.parametrize(
    ("found", "right", "said"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1.0}, {"a": 1}, []),
        ({"a": 0.1 + 0.2}, {"a": 0.3}, []),
        ({"a": 0.301}, {"a": 0.3}, [".a: 0.301, not 0.3"]),
        ({"a": 1709626225}, {"a": 1709625600}, [".a: 1709626225, not 1709625600"]),
        ({"a": 4200000001}, {"a": 4200000002}, [".a: 4200000001, not 4200000002"]),
        ({"a": 1709625600.25}, {"a": 1709625600.5}, [".a: 1709625600.25, not 1709625600.5"]),
        ({"a": 10**400}, {"a": 1.5}, [f".a: 1{'0' * 199}, not 1.5"]),
        ({"a": {"b": 1}}, {"a": "x"}, [".a: a list or an object, not 'x'"]),
        ({"a\nb": 1}, {}, [".a\\nb: not asked for"]),
        ({"a": True}, {"a": 1}, [".a: 'True', not '1'"]),
        ({"a": "1"}, {"a": 1}, [".a: '1', not '1'"]),
        ({"a": None}, {"a": 0}, [".a: 'None', not '0'"]),
        ({}, {"a": 1}, [".a: missing"]),
        ({"a": 1, "b": 2}, {"a": 1}, [".b: not asked for"]),
        ([2, 1], [1, 2], ["[0]: 2, not 1", "[1]: 1, not 2"]),
        ([1], [1, 2], ["the whole: 1 items, not 2"]),
        ({"0": 1}, [1], ["the whole: not a list"]),
        ([1], {"0": 1}, ["the whole: not an object"]),
        ({"a": [{"b": "x"}]}, {"a": [{"b": "y"}]}, [".a[0].b: 'x', not 'y'"]),
    ],
)
def test_a_difference_is_named_with_its_place(found: Any, right: Any, said: list[str]) -> None:
    assert list(find_differences(found, right)) == said


@first
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("raise SystemExit(3)", "exit 3"),
        ("1 / 0", "exit 1 ZeroDivisionError: division by zero"),
        ("open('result.json', 'w').write('{')", "result.json is not JSON"),
        ("open('result.json', 'w').write('{\"a\": NaN}')", "NaN is no JSON number"),
        ("open('result.json', 'wb').write(b'\\xff')", "result.json is not JSON"),
        ("open('result.json', 'w').write('[' * 100000)", "result.json is not JSON"),
        ("import os; os.mkdir('result.json')", "no result.json"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("raise ValueError('\x1b[31mred' + 'x' * 999)", "ValueError: \\x1b[31mred"),
    ],
)
def test_what_is_no_result_is_said_in_one_line(name: str, script: str, said: str, answer: Answer) -> None:
    outcome = answer(script, FIRST)
    assert said in outcome.problem
    assert outcome.problem.isprintable()
    assert len(outcome.problem) < 300


@first
def test_a_question_whose_own_solution_fails_is_an_error_of_the_content(name: str, answer: Answer) -> None:
    with pytest.raises(ValueError, match="own solution fails"):
        judge_outcome(answer("", FIRST), answer("", FIRST))
