"""The filter `runs` in the rounds: what is kept, what is rejected with its fault, and what mending saves."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from netllama.code_checks.code_run import CodeRun
from netllama.code_checks.code_runner import CodeRunner, Script
from netllama.code_checks.run_store import RunStore
from netllama.core.files import hash_json
from netllama.selfinstruct.estimate import estimate_family, judge_stored_rounds
from netllama.selfinstruct.repair_estimate import estimate_repairs
from netllama.selfinstruct.rounds import Family
from netllama.selfinstruct.run_checks import ASKED_TO_REPAIR
from netllama.selfinstruct.run_report import describe_runs
from netllama.selfinstruct.yield_report import build_funnel, build_yield_report
from netllama.teacher.budget import Prices
from netllama.teacher.store import ResponseStore
from tests.support.families import Scripted, dump_rows, family, grown
from tests.support.openai_server import WORDS, Answer, Asked

PRICES = Prices(Decimal("0.15"), Decimal("0.60"))
NAME = "packet_analysis"
FAULTY = "raise"
"""A script that has this word in it does not hold."""


class Pretended(CodeRunner):
    """Runs nothing."""

    def __init__(self) -> None:
        super().__init__(RunStore(Path("no such folder")))
        self.asked: list[str] = []

    def run_all(self, scripts: Sequence[Script]) -> list[CodeRun]:
        self.asked += [script.code for script in scripts]
        runs = [judge(script.code) for script in scripts]
        self.used |= {run.key: run for run in runs}
        return runs


def judge(code: str) -> CodeRun:
    finding, detail = ("runtime error", "line 2: no") if FAULTY in code else ("holds", "")
    return CodeRun.model_validate(
        {"key": hash_json(code), "finding": finding, "detail": detail, "misuses": [], "printed": "1\n", "wrote": []}
    )


def checking(**changes: Any) -> Family:
    settings = {"api": "chat", "enabled": ["empty_field", "word_count", "duplicate_output", "runs"], "max_requests": 8}
    one = family(NAME, **(settings | {"num_instructions_to_generate": 12} | changes))
    one.runner = Pretended()
    one.__post_init__()
    return one


def write(number: int, code: str) -> str:
    words = " ".join(WORDS[(number * 7 + each * (number % 5 + 1)) % len(WORDS)] for each in range(8))
    return f"###\n{number}. Instruction: {words} {number}\n{number}. Output:\n```python\n{code}\n```\n"


def scripted(mend: Callable[[Asked], str]) -> Callable[[Asked], Answer]:
    """Three tasks an answer, the second with a fault; `mend` answers what is to be mended."""

    def reply(asked: Asked) -> Answer:
        if ASKED_TO_REPAIR in asked.prompt:
            return Answer(mend(asked), "stop", 200, 50)
        first = asked.number * 3 + 1
        codes = [f"print({first})", f"# {first}\n{FAULTY} ValueError", f"print({first + 1})"]
        return Answer("".join(write(first + place, code) for place, code in enumerate(codes)), "stop", 100, 40)

    return reply


def mend_well(asked: Asked) -> str:
    number = asked.prompt.rpartition("\n# ")[2].split()[0]
    return f"```python\nprint('mended', {number})\n```"


def mend_second(asked: Asked) -> str:
    return f"```python\n# {asked.number}\n{FAULTY} KeyError\n```" if "ValueError" in asked.prompt else mend_well(asked)


def test_what_fails_is_rejected_with_its_fault_and_what_holds_has_its_run() -> None:
    one = checking()
    teacher = grown(one, teacher=Scripted(scripted(mend_well)))
    assert not any(ASKED_TO_REPAIR in str(request) for request in teacher.asked), "by default nothing is mended"
    refused = [row for row in one.rejected if row.reason == "runs"]
    assert len(one.kept) == 12
    assert {row.fault for row in refused} == {"runtime error: line 2: no"}
    assert all(FAULTY in row.output and row.code_run for row in refused)
    assert not any(FAULTY in row.output for row in one.kept)
    assert all(one.runner.used[row.code_run].holds for row in one.kept if one.runner)
    counted = build_yield_report([one], PRICES, lambda _: False)
    assert counted["runs"] == {
        "scripts": 12 + len(refused),
        "found": {"holds": 12, "runtime error": len(refused)},
    }
    assert {"step": "not runs", "tasks": 12} in build_funnel([one])
    assert describe_runs([one]) == f"runs: {12 + len(refused)} scripts: 12 holds, {len(refused)} runtime error"


def test_a_family_that_is_not_named_is_not_looked_at() -> None:
    one = checking(runs_families=["pybgpstream"])
    grown(one, teacher=Scripted(scripted(mend_well)))
    assert any(FAULTY in row.output for row in one.kept)
    assert not any(row.code_run for row in one.kept)
    assert checking(runs_families=[]).run_checks
    assert "runs" not in build_yield_report([one], None, lambda _: False)


def test_rows_without_python_pass() -> None:
    def chat(asked: Asked) -> Answer:
        first = asked.number * 2 + 1
        tasks = [
            write(first + place, "x").replace("```python\nx\n```", f"Words {first + place}.") for place in range(2)
        ]
        return Answer("".join(tasks))

    one = checking(max_requests=8)
    grown(one, teacher=Scripted(chat))
    assert len(one.kept) == 12
    assert one.runner
    assert one.runner.used == {}


@pytest.mark.parametrize(("mend", "attempts", "answers"), [(mend_well, 1, 1), (mend_second, 2, 2)])
def test_a_script_that_the_teacher_mends_is_kept(mend: Callable[[Asked], str], attempts: int, answers: int) -> None:
    one = checking(repair_attempts=attempts)
    teacher = grown(one, teacher=Scripted(scripted(mend)))
    mended = [row for row in one.kept if row.repairs]
    assert (len(one.kept), len(mended)) == (12, 4)
    assert {len(row.repairs) for row in mended} == {answers}
    assert all("mended" in row.output and "mended" in row.output for row in mended)
    asked = [request for request in teacher.asked if ASKED_TO_REPAIR in str(request)]
    assert {key for row in mended for key in row.repairs} == {request.key for request in asked}
    assert all("Found: runtime error. line 2: no" in str(request.messages) for request in asked)
    assert {response.key for response in one.all_responses} == {request.key for request in teacher.asked}
    counted = build_yield_report([one], PRICES, lambda _: False)["runs"]
    repairs, tasks = 4 * answers, len(one.responses)
    assert counted["repair"] | {"usd": 0} == {"answers": repairs, "tokens": repairs * 250, "kept": 4, "usd": 0}
    usd = (Decimal("0.15") * 200 + Decimal("0.60") * 50) * repairs / 10**6
    without = (Decimal("0.15") * 100 + Decimal("0.60") * 40) * tasks / 10**6
    assert counted["repair"]["usd"] == float(usd)
    assert counted["kept_per_usd"] == {
        "with_repair": round(12 / float(usd + without), 4),
        "without_repair": round(8 / float(without), 4),
    }
    assert counted["found_after_repair"] == {"holds": 12}


@pytest.mark.parametrize("text", ["No.", "```python\nraise IndexError\n```", ""])
def test_a_script_that_is_not_mended_is_rejected_after_all_attempts(text: str) -> None:
    one = checking(repair_attempts=2, max_requests=4)
    grown(one, teacher=Scripted(scripted(lambda _: text)))
    refused = [row for row in one.rejected if row.reason == "runs"]
    assert len(refused) == 4
    assert {len(row.repairs) for row in refused} == {2} if text.startswith("`") else {1, 2}
    assert not any(FAULTY in row.output for row in one.kept)


def test_a_mended_answer_goes_through_the_other_filters() -> None:
    one = checking(repair_attempts=1, max_requests=4)
    grown(one, teacher=Scripted(scripted(lambda _: "```python\nprint('the same every time')\n```")))
    assert sum(bool(row.repairs) for row in one.kept) == 1
    assert {row.reason for row in one.rejected} == {"duplicate_output"}


def test_no_more_is_mended_than_is_missing() -> None:
    one = checking(repair_attempts=2, num_instructions_to_generate=2)
    teacher = grown(one, teacher=Scripted(scripted(mend_well)))
    assert sum(ASKED_TO_REPAIR in str(request) for request in teacher.asked) == 1


@pytest.mark.parametrize("lines", range(0, 24, 3))
def test_an_interrupted_run_goes_on_and_asks_nothing_again(lines: int, tmp_path: Path) -> None:
    changes = {"repair_attempts": 2, "requests_per_round": 2}
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"

    def reply(asked: Asked) -> Answer:  # a function of the prompt, not of the order
        if ASKED_TO_REPAIR in asked.prompt:
            return Answer(mend_well(asked))
        number = int(hash_json(asked.prompt)[:6], 16)
        return scripted(mend_well)(Asked(number, asked.path, {}, asked.body))

    undisturbed = checking(**changes)
    grown(undisturbed, teacher=Scripted(reply, ResponseStore(whole)))
    part.write_text("".join(whole.read_text().splitlines(keepends=True)[:lines]))
    store = ResponseStore(part)
    resumed = checking(**changes)
    made = estimate_family(estimated := checking(**changes), store)
    repairs = estimate_repairs(estimated, made, store)
    assert judge_stored_rounds(checking(**changes), store) or not made.most_requests
    teacher = grown(resumed, teacher=Scripted(reply, store))
    assert dump_rows(resumed) == dump_rows(undisturbed)
    assert len(teacher.asked) == len(whole.read_text().splitlines()) - min(lines, len(whole.read_text().splitlines()))
    asked = sum(ASKED_TO_REPAIR in str(request) for request in teacher.asked)
    assert repairs
    assert asked <= repairs.most_requests
    assert len(teacher.asked) - asked <= made.most_requests


def test_the_estimate_of_repairs_is_a_row_of_its_own() -> None:
    store = ResponseStore(Path("no such file"))
    one = checking(repair_attempts=2, tasks_per_request=5, num_instructions_to_generate=10, requests_per_round=2)
    made = estimate_family(one, store)
    repairs = estimate_repairs(one, made, store)
    assert repairs
    assert (repairs.family, made.likely_requests, repairs.likely_requests) == ("  runs: repair", 8, 4)
    assert repairs.most_requests == made.most_requests * 5 * 2
    off = checking()
    assert estimate_repairs(off, estimate_family(off, store), store) is None
