"""Code questions: the solution of each holds, a second one agrees with it, and what knows nothing fails.

tests/data/second_solutions/ID.py was written from the question's text alone, by somebody who had not seen the first.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from netllama.code_tasks.code_answers import RESULT, VARIANTS, Outcome, answered, differences, verdict
from netllama.core.records import Question, load_questions
from testbed.network import ensure_network
from tests.support.clones import ROOT

QUESTIONS: dict[str, Question] = {
    question.id: question for question in load_questions(ROOT / "data" / "questions") if question.kind == "code"
}
SECOND = {
    path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "data" / "second_solutions").glob("*.py")
}
FIRST, OTHER = VARIANTS

Answer = Callable[[str, str, int], Outcome]
each = pytest.mark.parametrize("name", sorted(QUESTIONS))


@pytest.fixture(scope="module")
def answer(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answer]:
    """`answer(id, script, variant)`; the solutions of all questions are run beforehand, one a core at a time."""
    networks = {FIRST: network, OTHER: ensure_network(tmp_path_factory.mktemp("network"), OTHER)}
    folder = tmp_path_factory.mktemp("code")
    started: dict[tuple[str, str, int], Any] = {}

    def run(name: str, script: str, variant: int) -> Outcome:
        with tempfile.TemporaryDirectory(dir=folder) as place:  # 12 MB of network each
            return answered(QUESTIONS[name], script, networks[variant], Path(place) / "task")

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:

        def ask(name: str, script: str, variant: int) -> Any:
            key = (name, script, variant)
            if key not in started:
                started[key] = pool.submit(run, name, script, variant)
            return started[key]

        for name in QUESTIONS:
            for script in filter(None, (QUESTIONS[name].answer, SECOND.get(name))):
                for variant in VARIANTS:
                    ask(name, script, variant)
        yield lambda name, script, variant: ask(name, script, variant).result()


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
        outcome = answer(name, QUESTIONS[name].answer, variant)
        assert outcome.problem == ""
        assert outcome.run.events("misuse") == []
        assert outcome.run.stderr == ""
        assert emptied(outcome.value) != outcome.value, "a result that says nothing"


@each
def test_a_second_solution_written_from_the_text_alone_is_right(name: str, answer: Answer) -> None:
    assert SECOND[name].strip() != QUESTIONS[name].answer.strip()
    for variant in VARIANTS:
        found, right = answer(name, SECOND[name], variant), answer(name, QUESTIONS[name].answer, variant)
        assert verdict(found, right) == ""


@each
def test_an_empty_script_is_rejected(name: str, answer: Answer) -> None:
    right = answer(name, QUESTIONS[name].answer, FIRST)
    assert verdict(answer(name, "", FIRST), right) == f"no {RESULT}"


@each
def test_a_constant_is_right_on_one_network_at_most(name: str, answer: Answer) -> None:
    rights = [answer(name, QUESTIONS[name].answer, variant) for variant in VARIANTS]
    assert verdict(answer(name, constant(rights[0].value), FIRST), rights[0]) == ""
    assert verdict(answer(name, constant(rights[0].value), OTHER), rights[1]) != ""
    assert verdict(answer(name, constant(emptied(rights[0].value)), FIRST), rights[0]) != ""


@each
def test_the_result_of_the_other_network_is_rejected(name: str, answer: Answer) -> None:
    rights = [answer(name, QUESTIONS[name].answer, variant) for variant in VARIANTS]
    assert verdict(rights[1], rights[0]) != ""
    assert verdict(rights[0], rights[1]) != ""


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
    assert list(differences(found, right)) == said


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
def test_what_is_no_result_is_said_in_one_line(script: str, said: str, answer: Answer) -> None:
    outcome = answer(sorted(QUESTIONS)[0], script, FIRST)
    assert said in outcome.problem
    assert outcome.problem.isprintable()
    assert len(outcome.problem) < 300


def test_a_question_whose_own_solution_fails_is_an_error_of_the_content(answer: Answer) -> None:
    name = sorted(QUESTIONS)[0]
    with pytest.raises(ValueError, match="own solution fails"):
        verdict(answer(name, "", FIRST), answer(name, "", FIRST))
