"""Scores of code questions: every rung and every class by an answer written for it; pass@k against enumeration."""

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.code_tasks.code_ladder import FailureClass, Rung, find_missing_imports, parse_code
from netllama.core.errors import StageError
from netllama.core.records import Question
from netllama.sandbox.exchange import Limits
from netllama.sandbox.sandbox import Sandbox
from netllama.scoring import code_questions
from netllama.scoring.code_questions import (
    estimate_pass_at_k,
    judge_code_answers,
    read_failure,
    read_rung,
    remove_chance,
    select_code,
    summarize_code,
)
from netllama.scoring.code_samples import draw_samples, gather_samples
from netllama.scoring.kept_answers import LimitedPrompt
from netllama.scoring.score import Score
from netllama.scoring.token_draws import TokenDraw
from tests.support.shipped_data import load_shipped_questions

LIMITS = Limits(cpu_seconds=1.0, wall_seconds=60.0, memory_bytes=2**29)
SOLUTION = (
    "import csv, json\n"
    "rows = list(csv.DictReader(open('kpi.csv')))\n"
    "json.dump({'rows': len(rows), 'load': rows[7]['throughput_mbps']}, open('result.json', 'w'))\n"
)
STREAM = (
    "import pybgpstream\n"
    "stream = pybgpstream.BGPStream(from_time='2024-03-05 08:00:00', until_time='2024-03-05 08:05:00',\n"
    "    collectors=['rrc00'], record_types=['updates']{more})\n"
)
WRITE = "open('result.json', 'w').write('{\"rows\": 1}')\n"
ANSWERS: dict[str, tuple[str, Rung, FailureClass, str]] = {
    "prose": ("Count the rows, then write them.", Rung.NOTHING, FailureClass.NO_CODE, "no code"),
    "refusal": ("I can't help with that.", Rung.NOTHING, FailureClass.NO_CODE, "no code"),
    "syntax": ("```python\nimport csv\nfor row in\n```", Rung.EXTRACTED, FailureClass.SYNTAX, "line 2: invalid"),
    "null": ("```python\nx = '\0'\n```", Rung.EXTRACTED, FailureClass.SYNTAX, "null bytes"),
    "brackets": (f"x = {'(' * 5000}", Rung.EXTRACTED, FailureClass.SYNTAX, "too many nested parentheses"),
    "cut": ("```python\nimport csv\nprint('ab", Rung.EXTRACTED, FailureClass.SYNTAX, "unterminated string"),
    "module": ("import bgpkit_py\n", Rung.PARSES, FailureClass.MISSING_IMPORT, "No module named 'bgpkit_py'"),
    "submodule": ("import json.fast\n", Rung.PARSES, FailureClass.MISSING_IMPORT, "No module named 'json.fast'"),
    "late module": ("```python\n1 / 0\nimport bgpkit_py\n```", Rung.PARSES, FailureClass.MISSING_IMPORT,
                    "no module bgpkit_py"),
    "project": ("import netllama.core\n", Rung.PARSES, FailureClass.MISSING_IMPORT, "No module named 'netllama'"),
    "imported name": ("from csv import Rows\n", Rung.PARSES, FailureClass.WRONG_API, "cannot import name 'Rows'"),
    "tried": ("try:\n    import bgpkit_py\nexcept ImportError:\n    pass\nx = 1 / 0\n", Rung.IMPORTS_EXIST,
              FailureClass.RUNTIME_ERROR, "division by zero"),
    "exit": ("import sys\nsys.exit(3)\n", Rung.IMPORTS_EXIST, FailureClass.RUNTIME_ERROR, "exit 3"),
    "signal": ("import os\nos.kill(os.getpid(), 11)\n", Rung.IMPORTS_EXIST, FailureClass.RUNTIME_ERROR, "SIGSEGV"),
    "attribute": ("import csv\ncsv.load('kpi.csv')\n", Rung.IMPORTS_EXIST, FailureClass.WRONG_API,
                  "no attribute 'load'"),
    "none": ("x = None\nx.append(1)\n", Rung.IMPORTS_EXIST, FailureClass.RUNTIME_ERROR, "'NoneType' object"),
    "own class": ("class Peer:\n    pass\nPeer().asn\n", Rung.IMPORTS_EXIST, FailureClass.RUNTIME_ERROR,
                  "'Peer' object"),
    "keyword": ("import json\njson.dumps({}, pretty=True)\n", Rung.IMPORTS_EXIST, FailureClass.INVENTED_PARAMETER,
                "unexpected keyword argument 'pretty'"),
    "built-in keyword": ("open('kpi.csv', header=True)\n", Rung.IMPORTS_EXIST, FailureClass.INVENTED_PARAMETER,
                         "header"),
    "own keyword": ("def f(): pass\nf(x=1)\n", Rung.IMPORTS_EXIST, FailureClass.RUNTIME_ERROR, "f() got an unexpected"),
    "stream argument": (STREAM.format(more=", prefix_filter='x'"), Rung.IMPORTS_EXIST, FailureClass.INVENTED_PARAMETER,
                        "prefix_filter"),
    "field": (STREAM.format(more="") + "for elem in stream: elem.fields['origin']\n", Rung.IMPORTS_EXIST,
              FailureClass.WRONG_API, "KeyError: 'origin'"),
    "method": (STREAM.format(more="") + "for elem in stream: elem.prefix\n", Rung.IMPORTS_EXIST, FailureClass.WRONG_API,
               "no attribute 'prefix'"),
    "error of its own": (STREAM.format(more="") + "stream.add_filter('peer-asn', 'many')\nx = 1 / 0\n",
                         Rung.IMPORTS_EXIST, FailureClass.RUNTIME_ERROR, "division by zero"),
    "filter string": (STREAM.format(more=", filter='peer 15169 from'"), Rung.IMPORTS_EXIST, FailureClass.WRONG_FILTER,
                      "Invalid filter string"),
    "spinning": ("while True:\n    pass\n", Rung.IMPORTS_EXIST, FailureClass.TIMEOUT, "processor time"),
    "greedy": ("x = bytearray(2**31)\n", Rung.IMPORTS_EXIST, FailureClass.MEMORY, "MemoryError"),
    "talkative": ("while True:\n    print('x' * 10**6)\n", Rung.IMPORTS_EXIST, FailureClass.OUTPUT, "printed too much"),
    "network": ("import urllib.request\nurllib.request.urlopen('http://example.org/kpi.csv')\n", Rung.IMPORTS_EXIST,
                FailureClass.NETWORK_ATTEMPT, "look up example.org"),
    "empty": ("```python\n\n```", Rung.NOTHING, FailureClass.NO_CODE, "no code"),
    "idle": ("x = 1\n", Rung.RUNS, FailureClass.NO_DATA, "no result.json"),
    "walker": ("import os\nfor name in os.walk('/nowhere'):\n    open(name)\n" + WRITE,
               Rung.RUNS, FailureClass.NO_DATA, "read none of its files"),
    "reads its own": (WRITE + "print(open('result.json').read())\n", Rung.RUNS, FailureClass.NO_DATA,
                      "none of its files"),
    "no elements": (STREAM.format(more=", filter='prefix exact 192.0.2.0/24'") + "print(list(stream))\n" + WRITE,
                    Rung.RUNS, FailureClass.NO_DATA, ""),
    "unknown collector": (STREAM.format(more="").replace("rrc00", "rrc99") + "print(list(stream))\n" + WRITE, Rung.RUNS,
                          FailureClass.WRONG_FILTER, "rrc99"),
    "no result": ("print(len(open('kpi.csv').read()))\n", Rung.TOUCHED_DATA, FailureClass.INVALID_RESULT,
                  "no result.json"),
    "elements": (STREAM.format(more="") + "print(len(list(stream)))\n", Rung.TOUCHED_DATA, FailureClass.INVALID_RESULT,
                 "no result.json"),
    "no JSON": ("open('kpi.csv')\nopen('result.json', 'w').write('rows: 7')\n", Rung.TOUCHED_DATA,
                FailureClass.INVALID_RESULT, "is not JSON"),
    "hollow": ("open('kpi.csv')\nopen('result.json', 'w').write('{}')\n", Rung.TOUCHED_DATA,
               FailureClass.INVALID_RESULT, "says nothing"),
    "wrong": ("open('kpi.csv')\n" + WRITE, Rung.VALID_RESULT, FailureClass.WRONG_RESULT,
              ".load: missing; .rows: 1, not"),
    "wrong by a filter": (STREAM.format(more="") + "stream.add_filter('peer-asn', 'many')\n"
                          "print(len(list(stream)))\n" + WRITE,
                          Rung.VALID_RESULT, FailureClass.WRONG_FILTER, ""),
    "solution": (SOLUTION, Rung.RIGHT, FailureClass.NONE, "right"),
    "fenced": (f"Like this:\n```python\n{SOLUTION}```", Rung.RIGHT, FailureClass.NONE, "right"),
    "unseen": (SOLUTION.replace("open('kpi.csv')", "os.popen('cat kpi.csv')").replace("csv,", "csv, os,"), Rung.RIGHT,
               FailureClass.NONE, "right"),
}  # fmt: skip
"""An answer, the rung and the class of its verdict, and what the explanation holds."""

Networks = Callable[[int], Path]


@pytest.fixture(scope="module")
def question() -> Question:
    fields: dict[str, Any] = {"options": [], "aliases": [], "key_facts": [], "reference": "", "cluster": ""}
    return Question(id="q-1", family="performance_analysis", kind="code", question="?", answer=SOLUTION, **fields)


@pytest.fixture(scope="module")
def scores(question: Question, sandbox: Sandbox, networks: Networks) -> dict[str, Score]:
    answers = [answer for answer, *_ in ANSWERS.values()]
    judged = judge_code_answers([question] * len(answers), answers, sandbox, [networks(1), networks(2)], LIMITS)
    return dict(zip(ANSWERS, judged, strict=True))


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_reaches_its_rung_and_falls_by_its_fault(name: str, scores: dict[str, Score]) -> None:
    score, (answer, rung, failure, said) = scores[name], ANSWERS[name]
    assert (read_rung(score), read_failure(score)) == (rung, failure), score.explanation
    assert score.value == float(rung == Rung.RIGHT)
    assert said in score.explanation
    assert score.explanation.isprintable()
    assert (score.item, score.answer, score.expected) == ("q-1", answer, SOLUTION)


def test_every_rung_and_every_class_has_an_answer_here() -> None:
    assert {rung for _, rung, _, _ in ANSWERS.values()} == set(Rung)
    assert {failure for _, _, failure, _ in ANSWERS.values()} == set(FailureClass)


def test_scores_depend_neither_on_the_order_nor_on_what_else_is_judged(
    question: Question, sandbox: Sandbox, networks: Networks, scores: dict[str, Score]
) -> None:
    names = ["solution", "no elements", "prose", "wrong", "attribute"]
    answers = [ANSWERS[name][0] for name in names]
    again = judge_code_answers([question] * 5, answers, sandbox, [networks(1), networks(2)], LIMITS)
    assert again == [scores[name] for name in names]


def test_equal_scripts_run_once_and_a_solution_only_where_it_is_needed(
    question: Question, sandbox: Sandbox, networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[tuple[str, Path]] = []
    real = code_questions.run_answer

    def run(asked: Question, code: str, network: Path, *rest: Any) -> Any:
        runs.append((code, network))
        return real(asked, code, network, *rest)

    monkeypatch.setattr(code_questions, "run_answer", run)
    places = [networks(1), networks(2)]
    judge_code_answers([question] * 3, ["x = 1\n"] * 3, sandbox, places, LIMITS)
    assert runs == [("x = 1\n", places[0])]
    runs.clear()
    own = f"{SOLUTION}# mine\n"
    judged = judge_code_answers([question] * 2, [f"```python\n{own}```"] * 2, sandbox, places, LIMITS)
    assert [score.value for score in judged] == [1.0, 1.0]
    assert sorted(runs) == sorted((code, place) for code in (own, SOLUTION) for place in places)


def test_a_constant_that_is_right_on_one_network_is_wrong(
    question: Question, sandbox: Sandbox, networks: Networks
) -> None:
    with (networks(1) / "measurements" / "kpi.csv").open() as file:
        lines = file.read().splitlines()
    column = lines[0].split(",").index("throughput_mbps")
    value = {"rows": len(lines) - 1, "load": lines[8].split(",")[column]}
    code = f"import json\nopen('kpi.csv')\njson.dump({value!r}, open('result.json', 'w'))\n"
    (one,) = judge_code_answers([question], [code], sandbox, [networks(1)])
    (both,) = judge_code_answers([question], [code], sandbox, [networks(1), networks(2)])
    assert (one.value, read_rung(one)) == (1.0, Rung.RIGHT)
    assert (both.value, read_rung(both), read_failure(both)) == (0.0, Rung.VALID_RESULT, FailureClass.WRONG_RESULT)


def test_a_question_whose_solution_fails_is_named(question: Question, sandbox: Sandbox, network: Path) -> None:
    broken = question.model_copy(update={"answer": "1 / 0"})
    with pytest.raises(StageError, match="question q-1: the question's own solution fails"):
        judge_code_answers([broken], [ANSWERS["wrong"][0]], sandbox, [network], LIMITS)


def test_without_a_solution_a_script_gets_as_far_as_can_be_seen(
    question: Question, sandbox: Sandbox, network: Path
) -> None:
    unsolved = question.model_copy(update={"answer": ""})
    (score,) = judge_code_answers([unsolved], [f"```python\n{SOLUTION}```"], sandbox, [network], LIMITS)
    assert (read_rung(score), score.value) == (Rung.VALID_RESULT, 0.0)


def test_the_summary_counts_what_each_answer_reached(scores: dict[str, Score]) -> None:
    names = ["prose", "syntax", "module", "spinning", "idle", "hollow", "wrong", "solution"]
    items = [scores[name].model_copy(update={"item": name}) for name in names]
    found = summarize_code(items)
    assert found["pass_at_1"] == 0.125
    assert found["questions"] == 8
    reached = found["reached"]
    assert isinstance(reached, dict)
    assert list(reached.values()) == [0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    failures = found["failures"]
    assert isinstance(failures, dict)
    assert {name for name, count in failures.items() if count} == {
        "no_code", "syntax", "missing_import", "timeout", "no_data", "invalid_result", "wrong_result"
    }  # fmt: skip
    assert summarize_code([]) == {}


def test_samples_of_a_question_are_taken_together(scores: dict[str, Score]) -> None:
    right, wrong = scores["solution"], scores["wrong"]
    found = summarize_code([right, wrong, wrong, *(wrong.model_copy(update={"item": "q-2"}),) * 3], most=3)
    assert [found[f"pass_at_{k}"] for k in (1, 2, 3)] == [0.1667, 0.3333, 0.5]
    assert found["questions"] == 2


def test_samples_become_one_score_a_question_and_have_seeds_of_their_own(
    scores: dict[str, Score], question: Question
) -> None:
    right, wrong = scores["solution"], scores["wrong"]
    other = wrong.model_copy(update={"item": "q-2"})
    gathered = gather_samples([wrong, right, wrong, right, other, other])
    assert [(score.item, score.kind, score.value) for score in gathered] == [
        (right.item, "code_samples", 0.5),
        ("q-2", "code_samples", 0.0),
    ]
    assert gathered[0].answer == right.answer
    assert gathered[0].explanation.startswith("2 of 4 samples are right; the best: ")
    second = question.model_copy(update={"id": "q-2"})
    asked = draw_samples([question, second], [LimitedPrompt([5, 6], 9), LimitedPrompt([7], 9)], 3, 0.8)
    assert [prompt.ids for prompt in asked] == [[5, 6]] * 3 + [[7]] * 3
    draws = [prompt.steering for prompt in asked]
    assert {draw.temperature for draw in draws if isinstance(draw, TokenDraw)} == {0.8}
    assert len(set(draws)) == 6
    assert draw_samples([question], [LimitedPrompt([5, 6], 9)], 0, 0.8) == []


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_pass_at_k_is_the_share_of_all_choices_of_k_samples_with_a_right_one(
    right: list[bool], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(right)))
    drawn = [any(choice) for choice in combinations(right, k)]
    assert estimate_pass_at_k(len(right), sum(right), k) == pytest.approx(mean(drawn), abs=1e-12)


@pytest.mark.parametrize(("samples", "right", "k"), [(3, 1, 4), (3, 4, 1), (3, 1, 0), (0, 0, 1), (3, -1, 1)])
def test_pass_at_k_of_fewer_samples_is_not_defined(samples: int, right: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"pass@{k} of {samples} samples"):
        estimate_pass_at_k(samples, right, k)


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ("import os, numpy as np, pybgpstream\nfrom scapy.all import IP\nimport _pybgpstream", []),
        ("import tests, stages, data, testbed", ["data", "stages", "testbed", "tests"]),
        ("from . import x\nfrom .. import y\nfrom .z import y", [".", ".."]),
        ("try:\n    import ujson\nexcept ImportError:\n    import json", []),
        ("def f():\n    import bgpkit_py\n", ["bgpkit_py"]),
    ],
)
def test_modules_that_the_sandbox_has_not_are_named(code: str, missing: Sequence[str]) -> None:
    tree = parse_code(code)
    assert not hasattr(tree, "rung")
    assert find_missing_imports(tree) == missing  # type: ignore[arg-type]


def test_what_differs_from_run_to_run_is_left_out() -> None:
    said = "2026-01-02 03:04:05 77: bgpstream: ERROR: <x at 0x7f00aa11> in /tmp/code-a1/task/cwd/kpi.csv of 0x1f"
    assert remove_chance(said, "/tmp/code-a1") == "bgpstream: ERROR: <x at 0x...> in /task/cwd/kpi.csv of 0x1f"


def test_a_fixed_choice_of_code_questions_is_asked() -> None:
    questions = load_shipped_questions()
    chosen = select_code(questions, 5)
    assert len(chosen) == 5
    assert {question.kind for question in chosen} == {"code"}
    assert chosen == select_code(questions[::-1], 5)
    assert len(select_code(questions, 10**6)) >= 40
