"""Answers to tasks by program: what is right however it is dressed, what is not, and what a model can't do to us."""

import json
from pathlib import Path
from typing import Any

import pytest

from netllama.core.records import Question
from netllama.sandbox.exchange import Limits
from netllama.scoring import code_questions
from netllama.scoring.program_scores import (
    judge_filters,
    judge_programs,
    read_filter,
    select_all,
    split_list,
    summarize_programs,
)
from netllama.scoring.program_texts import list_programs, phrase_programs
from testbed.tasks.broken_scripts import SCRIPTS, RepairScript
from testbed.tasks.repair_tasks import break_script, fill_script
from testbed.tasks.task_records import ProgramTask, TaskDraft

LINES = [
    "1|A|rrc00|430001|22.1.0.0/16|430001 430002|64512:100",
    "2|W|rrc00|430001|22.1.8.0/24||",
    "3|R|route-views2|430003|2d00:1::/32|430003 430002|64512:200 64513:1",
]
LIMITS = Limits(cpu_seconds=20, wall_seconds=300)


def make_task(judged: Any, answer: str, *aliases: str, selected: tuple[int, ...] = ()) -> ProgramTask:
    listing = "\n".join(["line|type|collector|peer|prefix|as-path|communities", *LINES])
    return ProgramTask(
        "testbed-test-00000", "decode", "easy", "?", TaskDraft({}, listing, answer, judged, aliases, selected)
    )


def judge(task: ProgramTask, answer: str, sandbox: Any = None) -> float:
    return judge_programs([task], [answer], sandbox, LIMITS)[0].value


@pytest.mark.parametrize(
    ("answer", "written", "right"),
    [
        ("430002", "430002", True),
        ("430002", "AS430002.", True),
        ("430002", "\n`430002`\nbecause it is last", True),
        ("430002", "430001", False),
        ("430002", "430001 430002", False),
        ("12.17", "12.17 ms", True),
        ("12.17", "12.2", False),
        ("22.1.0.0/16", "22.1.0.0/16", True),
        ("22.1.0.0/16", "22.1.0.0/17", False),
        ("22.1.0.0/16", "", False),
    ],
)
def test_a_short_answer_is_judged_as_one_to_a_blank(answer: str, written: str, right: bool) -> None:
    assert judge(make_task("text", answer, f"AS{answer}"), written) == right


@pytest.mark.parametrize(
    ("answer", "written", "right"),
    [
        ("7, 9", "9, 7", True),
        ("7, 9", "7 and 9.", True),
        ("7, 9", "7 9", True),
        ("7, 9", "7", False),
        ("7, 9", "7, 9, 9", False),
        ("7, 9", "79", False),
        ("12", "1, 2", False),
        ("64512:100, 64513:1", "64513:1, 64512:100", True),
        ("7, 9", "", False),
    ],
)
def test_a_list_is_judged_as_a_set(answer: str, written: str, right: bool) -> None:
    assert judge(make_task("list", answer), written) == right
    assert split_list("a, b and c") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("peer 1", "peer 1"),
        ('"peer 1"', "peer 1"),
        ("`filter='peer 1'`", "peer 1"),
        ('filter = "peer 1"\nand so on', "peer 1"),
        ('aspath "_1_"', 'aspath "_1_"'),
        ("", ""),
    ],
)
def test_a_filter_string_is_read_out_of_what_is_around_it(written: str, read: str) -> None:
    assert read_filter(written) == read


EQUAL = [
    "peer 430001",
    "'collector rrc00'",
    "project ris",
    "type updates",
    "peer 430001 and ipversion 4",
    "ipversion 4",
]
OTHER = [
    "peer 430003",
    "peer 430001 and elemtype announcements",
    "origin 430002",  # the withdrawal has no origin
    "prefix more 22.1.0.0/16 and community 64512:100",
    "peer",
    "collectors rrc00",
    "",
    "router rrc00",
    "peer 99999999999",
    "import os",
    f"peer {'4' * 400}",
]


def test_a_filter_is_right_where_it_selects_the_same_lines(sandbox: Any) -> None:
    task = make_task("filter", "peer 430001", selected=(1, 2))
    scores = judge_filters([(task, written) for written in (*EQUAL, *OTHER)], sandbox)
    assert [score.value for score in scores] == [1.0] * len(EQUAL) + [0.0] * len(OTHER)
    assert scores[0].explanation == "it selects 1, 2"
    assert scores[len(EQUAL) + 4].explanation == "no valid filter string"


def test_a_path_expression_without_end_costs_two_seconds_and_no_other_answer(sandbox: Any) -> None:
    endless = "aspath (4+)+x(([0-9]+)+)+y"
    line = f"1|A|rrc00|430001|22.1.0.0/16|{'4' * 40}|"
    found = select_all(
        [("peer 430001", [line]), (f"path {'(4*)*' * 8}x", [line]), (endless, [line]), ("peer 1", [line])], sandbox
    )
    assert found[0] == [1]
    assert found[3] == []
    assert found[2] in (None, [])


def test_strings_that_end_the_whole_run_take_no_other_with_them(sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from netllama.scoring import program_scores

    alone = program_scores._run_selection
    monkeypatch.setattr(
        program_scores, "_run_selection", lambda asked, box: alone(asked, box) if len(asked) == 1 else None
    )
    assert select_all([("peer 430001", LINES), ("nonsense", LINES)], sandbox) == [[1, 2], None]


def test_the_right_answers_are_right_and_those_of_the_next_task_are_not(sandbox: Any) -> None:
    tasks = [task for task in list_programs(36) if task.kind != "repair"]
    answers = [task.draft.answer for task in tasks]
    right = judge_programs(tasks, answers, sandbox, LIMITS)
    assert [(score.item, score.value) for score in right] == [(task.id, 1.0) for task in tasks]
    shifted = answers[5:] + answers[:5]  # of the same kind, the next level or wording
    wrong = judge_programs(tasks, shifted, sandbox, LIMITS)
    assert sum(score.value for score in wrong) <= 2, "two tasks may have the same short answer"
    summary = summarize_programs(right)
    assert (summary["accuracy"], summary["questions"]) == (1.0, len(tasks))
    assert list(summary["by_difficulty"]) == ["easy", "medium", "hard"]  # type: ignore[call-overload]
    assert json.dumps(summary)


def test_the_script_that_ran_is_a_repair_and_the_broken_one_is_not(
    sandbox: Any, networks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_questions, "ensure_network", lambda _, seed: networks(seed))
    task = next(task for task in list_programs(72) if task.kind == "repair" and task.draft.scenario == "")
    answers = [task.draft.answer, f"```python\n{task.draft.input}```"]
    repaired, broken = judge_programs([task], answers[:1], sandbox, LIMITS) + judge_programs(
        [task], answers[1:], sandbox, LIMITS
    )
    assert (repaired.value, repaired.measures["rung"]) == (1.0, 1.0)
    assert broken.value == 0
    assert broken.explanation
    assert broken.cluster == task.draft.cluster != ""


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_right_on_both_networks_and_each_fault_makes_it_wrong(
    script: RepairScript, warm: Any, networks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_questions, "count_cores", lambda: 1)  # `warm` runs one script at a time
    values = {name: format(numbers[len(numbers) // 2], form) for name, (numbers, form) in script.numbers.items()}
    values |= {name: options[0] for name, options in script.words.items()}
    right = fill_script(script.text, values)
    faults = [break_script(script, mutation, values) for mutation in script.mutations]
    question = Question(
        id=script.name, family="testbed", kind="code", question="?", options=[], answer=right, aliases=[], key_facts=[],
        reference="", cluster="", scenario=script.scenario,
    )  # fmt: skip
    answers = [f"```python\n{code}```" for code in (right, *faults)]
    scores = code_questions.judge_code_answers([question] * len(answers), answers, warm, [networks(1), networks(2)])
    assert [score.value for score in scores] == [1.0, *[0.0] * len(faults)]


def test_the_report_finds_what_was_asked_by_the_ids_of_tasks() -> None:
    tasks = list_programs(4)
    asked = phrase_programs([tasks[1].id, tasks[3].id])
    assert list(asked) == [tasks[1].id, tasks[3].id]
    assert asked[tasks[3].id] == f"{tasks[3].instruction}\n{tasks[3].draft.input}"
    assert phrase_programs([]) == {}


def test_the_selecting_script_is_a_file_of_the_testbed() -> None:
    from netllama.scoring.program_scores import SELECTION

    assert Path(SELECTION).is_file()
