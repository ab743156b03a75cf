"""The filter `agrees`: what it asks, what it makes of the answers, and that nothing but the texts decides."""

import asyncio
import json
import random
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from netllama.documents.document import Chunk
from netllama.selfinstruct.agreement_estimate import estimate_checks
from netllama.selfinstruct.checked_notes import SHOWN, CheckedNotes, load_notes
from netllama.selfinstruct.estimate import estimate_family, judge_stored_rounds
from netllama.selfinstruct.rounds import Family, grow_families
from netllama.selfinstruct.second_answers import UNREAD, judge_comparisons
from netllama.selfinstruct.yield_report import build_funnel, build_yield_report, describe_findings
from netllama.teacher.budget import Budget, Prices
from netllama.teacher.client import Teacher
from netllama.teacher.store import Response, ResponseStore
from tests.support.families import PRICED, Scripted, dump_rows, family, grown
from tests.support.openai_server import Answer, Asked, OpenAIServer, Reply
from tests.support.second_opinions import WRONG, Opinions, compare_fairly, is_faulty, kind, read_material

ON = {"enabled": ["empty_field", "word_count", "near_duplicate", "agrees"], "num_instructions_to_generate": 30}
PRICES = Prices(Decimal("0.15"), Decimal("0.60"))
APIS = ("chat", "completions", "responses")


def checking(**changes: Any) -> Family:
    return family(**({"api": "chat"} | ON | changes))


def tasks_of(one: Family) -> set[str]:
    return {row.instruction for row in one.kept}


@pytest.mark.parametrize("api", APIS)
def test_what_agrees_is_kept_and_what_does_not_is_rejected_with_both_texts(api: str) -> None:
    one = checking(api=api)
    teacher = grown(one, teacher=Scripted(Opinions()))
    refused = [row for row in one.rejected if row.reason == "agrees"]
    assert len(one.kept) == 30
    assert len(refused) > 5
    assert not any(is_faulty(row.instruction) for row in one.kept)
    assert all(is_faulty(row.instruction) for row in refused)
    for row in refused:
        assert row.output.startswith(row.instruction.rstrip("?"))
        assert row.second_answer
        assert (row.second_answer.output, row.second_answer.finding) == (WRONG, "differs")
        assert row.second_answer.said == ["differ", "differ"]
    assert {one.draw for one in teacher.asked if "agrees" in one.draw} == {
        f"bgp_knowledge/agrees/{name}" for name in ("answer", "first", "second")
    }


def test_the_second_answer_is_asked_for_without_the_first_and_both_orders_show_both() -> None:
    asked: list[Asked] = []

    def listen(request: Asked) -> Answer:
        asked.append(request)
        return Opinions()(request)

    one = checking(judge_model="another", temperature=0.7)
    grown(one, teacher=Scripted(listen))
    outputs = {row.output for row in (*one.kept, *one.rejected) if row.output}
    answers = [each for each in asked if kind(each) == "answer"]
    assert not any(output in each.prompt for each in answers for output in outputs)
    assert {each.body["temperature"] for each in answers} == {0.7}
    compared = [each for each in asked if kind(each) == "comparison"]
    assert {each.body["temperature"] for each in compared} == {0.0}
    assert {each.body["model"] for each in (*answers, *compared)} == {"another"}
    assert {each.body["model"] for each in asked if kind(each) == "task"} == {"test"}
    pairs = {(shown["answer_a"], shown["answer_b"]) for shown in map(read_material, compared)}
    assert {(second, first) for first, second in pairs} == pairs
    assert all((first in outputs) != (second in outputs) for first, second in pairs)


def first_is_right(asked: Asked) -> Answer:
    """Agrees in one order only."""
    shown = read_material(asked)
    agree = shown["answer_a"] < shown["answer_b"]
    return Answer(json.dumps({"agree": agree, "holds_a": "yes", "holds_b": "yes"}))


def test_orders_that_disagree_confirm_nothing() -> None:
    one = checking(max_requests=4)
    grown(one, teacher=Scripted(Opinions(comparison=first_is_right)))
    findings = [row.second_answer for row in one.rejected if row.second_answer]
    assert not one.kept
    assert {finding.finding for finding in findings} == {"orders_disagree"}
    assert {tuple(sorted(finding.said)) for finding in findings} == {("agree", "differ")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("They agree.", "no JSON object in the answer"),
        ('{"agree": 1, "holds_a": "yes", "holds_b": "yes"}', "agree is neither true nor false"),
        ('{"agree": true, "holds_b": "yes"}', "holds_a is none of yes, no and silent"),
        ('{"agree": true, "holds_a": "perhaps", "holds_b": "yes"}', "holds_a is none of yes, no and silent"),
        ("", "no JSON object in the answer"),
    ],
)
def test_what_cannot_be_read_is_counted_and_keeps_no_task(text: str, says: str) -> None:
    def mumble(asked: Asked) -> Answer:
        shown = read_material(asked)
        return Answer(text) if shown["answer_a"].startswith(shown["instruction"][:20]) else compare_fairly(asked)

    def full(asked: Asked) -> Answer:
        return Answer("So it is: " + asked.prompt.splitlines()[-1])

    one = checking(max_requests=4)
    grown(one, teacher=Scripted(Opinions(answer=full, comparison=mumble)))
    counted = build_yield_report([one], PRICES, lambda _: False)["agrees"]
    assert not one.kept
    assert counted["found"] == {"unread": counted["tasks"]}
    assert counted["parse_failures"] == counted["tasks"] > 4, "the other order can be read"
    (said,) = {row.second_answer.said[0] for row in one.rejected if row.second_answer}
    assert said == f"{UNREAD}{says}"


@pytest.mark.parametrize("reason", ["length", "content_filter", "refusal"])
def test_without_a_whole_second_answer_nothing_is_compared(reason: str) -> None:
    one = checking(max_requests=4)
    refusal = "No." if reason == "refusal" else None
    script = Opinions(answer=lambda _: Answer("Half an", reason, refusal=refusal))
    teacher = grown(one, teacher=Scripted(script))
    assert not [request for request in teacher.asked if request.draw.endswith(("first", "second"))]
    found = [row.second_answer for row in one.rejected if row.second_answer]
    assert {(each.output, each.finding, tuple(each.said)) for each in found} == {("", "unread", ())}
    assert build_yield_report([one], None, lambda _: False)["agrees"]["parse_failures"] == 0


def comparison(agree: bool, holds_a: str, holds_b: str, finish_reason: str = "stop") -> Response:
    text = json.dumps({"Agree": agree, "holds_a": holds_a, "HOLDS_B": holds_b})
    more = {"finish_reason": finish_reason, "max_tokens": 9, "prompt_tokens": 1, "completion_tokens": 1}
    return Response(key="k", draw="d", model="m", text=text, **more)


@pytest.mark.parametrize(
    ("first", "second", "finding"),
    [
        ((True, "yes", "silent"), (True, "silent", "yes"), "agrees"),
        ((True, "silent", "no"), (True, "no", "silent"), "agrees"),  # the notes contradict the second answer alone
        ((True, "no", "silent"), (True, "silent", "no"), "contradicted"),
        ((False, "no", "yes"), (False, "yes", "no"), "contradicted"),
        ((True, "no", "yes"), (True, "yes", "yes"), "orders_disagree"),
        ((True, "yes", "yes"), (False, "yes", "yes"), "orders_disagree"),
        ((False, "yes", "yes"), (False, "yes", "yes"), "differs"),
        ((False, "no", "yes"), (False, "yes", "yes"), "differs"),
    ],
)
def test_a_task_is_kept_where_no_order_objects(first: Any, second: Any, finding: str) -> None:
    found = judge_comparisons("text", ["n"], [comparison(*first), comparison(*second)])
    assert (found.finding, found.notes) == (finding, ["n"])
    withheld = judge_comparisons("text", [], [comparison(*first), comparison(*second, "content_filter")])
    assert withheld.finding == "unread"


def chunk(number: int, text: str) -> Chunk:
    return Chunk(id=f"c{number}", document="d", headings=["Notes"], text=text, tokens=9)


def test_the_notes_that_share_words_with_the_answers_are_shown_and_one_that_contradicts_them_rejects(
    tmp_path: Path,
) -> None:
    def task(asked: Asked) -> Answer:
        return Answer("###\n9. Instruction: Which port does the peering protocol listen on?\n9. Output:\nIt is 178.\n")

    def judge(asked: Asked) -> Answer:
        shown = read_material(asked)
        assert shown["notes"] == ["Notes\nThe peering protocol listens on port 179."]
        side = "holds_a" if shown["answer_a"] == "It is 178." else "holds_b"
        return Answer(json.dumps({"agree": True, "holds_a": "silent", "holds_b": "silent"} | {side: "no"}))

    texts = ["The peering protocol listens on port 179.", "Nothing else of interest stands here."]
    notes = CheckedNotes([chunk(number, text) for number, text in enumerate(texts)])
    one = checking(max_requests=1, notes=notes)
    script = Opinions(task=task, answer=lambda _: Answer("Port 178, I think."), comparison=judge)
    grown(one, teacher=Scripted(script))
    (row,) = one.rejected
    assert row.second_answer
    assert (row.second_answer.finding, row.second_answer.notes) == ("contradicted", ["c0"])
    assert row.second_answer.said == ["agree, against the notes"] * 2
    many = CheckedNotes([chunk(number, f"port {number}") for number in range(SHOWN + 3)])
    assert list(many.find("port")) == [f"c{number}" for number in range(SHOWN)]
    assert len(load_notes(tmp_path / "nothing recorded")) == 0
    assert "against no notes: none are recorded" in describe_findings([checking()])


def test_it_asks_about_the_families_that_are_named_and_off_it_changes_nothing() -> None:
    elsewhere = checking(agrees_families=["packet_analysis"])
    off = checking(enabled=ON["enabled"][:-1])
    for one in (elsewhere, off):
        assert not [request for request in grown(one).asked if "agrees" in request.draw]
    assert dump_rows(elsewhere) == dump_rows(off)
    assert "agrees" not in build_yield_report([off], None, lambda _: False)
    assert describe_findings([off]) == ""
    assert checking(agrees_families=["bgp_knowledge"]).second_answers


def test_no_more_tasks_are_asked_about_than_are_missing() -> None:
    one = checking(num_instructions_to_generate=3, requests_per_round=8)
    teacher = grown(one, teacher=Scripted(Opinions()))
    faulty = sum(row.reason == "agrees" for row in one.rejected)
    assert len(one.kept) == 3
    assert sum(request.draw.endswith("answer") for request in teacher.asked) == 3 + faulty


def late(asked: Asked) -> Reply:
    return replace(Opinions()(asked), delay=random.random() * 0.01)


def test_concurrency_and_the_order_of_the_answers_do_not_change_a_byte(workdir: Path) -> None:
    def grow(url: str, store: str, concurrency: int) -> Family:
        one = checking(base_url=url, num_instructions_to_generate=8, requests_per_round=6)

        async def run() -> None:
            async with Teacher(url, ResponseStore(Path(store)), concurrency) as teacher:
                await grow_families([one], teacher, lambda: None)

        asyncio.run(run())
        return one

    with OpenAIServer(late) as server:
        alone = grow(server.url, "1.jsonl", 1)
        needed = len(server.requests)
        many = grow(server.url, "64.jsonl", 64)
        assert len(server.requests) == 2 * needed
        again = grow(server.url, "64.jsonl", 7)
        assert len(server.requests) == 2 * needed, "a second run asks nothing"
    assert dump_rows(alone) == dump_rows(many) == dump_rows(again)
    assert alone.all_responses == many.all_responses
    assert alone.second_answers
    assert len(alone.second_answers.answers) == needed - len(alone.responses)


@pytest.mark.parametrize("usd", ["0.0007", "0.0009", "0.0011"])
def test_a_budget_that_ends_between_the_comparisons_keeps_what_is_decided_and_a_higher_one_goes_on(
    usd: str, workdir: Path
) -> None:
    def grow(url: str, usd: str) -> tuple[Family, bool]:
        changes = PRICED | {"max_usd": usd, "requests_per_round": 2, "num_instructions_to_generate": 6}
        one = checking(base_url=url, **changes)

        async def run() -> bool:
            budget = Budget(PRICES, Decimal(usd))
            async with Teacher(url, ResponseStore(Path("store.jsonl")), 4, budget=budget) as teacher:
                return await grow_families([one], teacher, lambda: None)

        return one, asyncio.run(run())

    with OpenAIServer(Opinions()) as server:
        full, done = grow(server.url, "1")
        assert done
        needed = {json.dumps(asked.body, sort_keys=True) for asked in server.requests}
        Path("store.jsonl").unlink()
        server.requests.clear()
        cut, done = grow(server.url, usd)
        assert not done
        before = len(server.requests)
        assert 0 < before < len(needed)
        assert any(kind(asked) != "task" for asked in server.requests)
        assert dump_rows(full)[: len(cut.kept)] == dump_rows(cut)[: len(cut.kept)]
        more, done = grow(server.url, "1")
        assert done
        assert len(server.requests) == len(needed), "nothing is asked twice"
    assert dump_rows(more) == dump_rows(full)


def test_the_report_the_funnel_and_the_line_count_it() -> None:
    one = checking(**PRICED)
    grown(one, teacher=Scripted(Opinions()))
    report, funnel = build_yield_report([one], PRICES, lambda _: False), build_funnel([one])
    counted, refused = report["agrees"], sum(row.reason == "agrees" for row in one.rejected)
    assert counted["found"] == {"agrees": 30, "differs": refused}
    assert (counted["tasks"], counted["parse_failures"]) == (30 + refused, 0)
    assert counted["answers"] == 3 * counted["tasks"]
    assert counted["tokens"] == (50 + 20 + 2 * 230) * counted["tasks"]
    assert report["answers"]["asked"] == len(one.responses) + counted["answers"]
    assert report["prompt_tokens"] == 11 * len(one.responses) + 450 * counted["tasks"]
    usd = (Decimal("0.15") * 450 + Decimal("0.60") * 80) * counted["tasks"] / 10**6
    assert counted["usd"] == pytest.approx(float(usd), abs=1e-6)
    assert funnel[-2] == {"step": "not agrees", "tasks": 30}
    assert funnel[-3]["tasks"] == 30 + refused
    assert describe_findings([one]) == (
        f"agrees: {30 + refused} tasks checked with {3 * (30 + refused)} answers, against no notes: none are recorded: "
        f"30 agrees, {refused} differs; 0 comparisons can't be read"
    )


@pytest.mark.parametrize("lines", [0, 3, 4, 7, 11, 15, 16, 25])
def test_the_estimate_counts_what_is_still_asked_and_judges_no_round_twice(tmp_path: Path, lines: int) -> None:
    changes = {"num_instructions_to_generate": 8, "requests_per_round": 4, "max_requests": 16}
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    full = checking(**changes)
    grown(full, teacher=Scripted(Opinions(), store=ResponseStore(whole)))
    part.write_text("".join(whole.read_text().splitlines(keepends=True)[:lines]))
    store, one = ResponseStore(part), checking(**changes)
    tasks = estimate_family(one, store)
    checks = estimate_checks(one, tasks, store)
    assert checks
    assert tasks.answers + checks.answers == lines
    state = dump_rows(one)
    judge_stored_rounds(one, store)
    assert dump_rows(one) == state
    rest = grown(one, teacher=Scripted(Opinions(), store=store))
    assert dump_rows(one) == dump_rows(full)
    asked = sum("agrees" in request.draw for request in rest.asked)
    assert 0 < asked <= checks.most_requests
    assert checks.likely_requests > 0
    if lines >= 4:  # a round of eight tasks is there, and what is asked about them is known
        assert (tasks.likely_requests, checks.likely_requests) == (0, 4 + 3 * 8 - lines)
    assert len(rest.asked) - asked <= tasks.most_requests
    done = estimate_family(one, store)
    after = estimate_checks(one, done, store)
    assert after
    assert (after.likely_requests, after.most_requests) == (0, 0)
    assert after.answers == 3 * len(full.second_answers.findings) if full.second_answers else False


def test_a_file_of_params_with_the_filter_in_the_middle_is_refused() -> None:
    with pytest.raises(ValueError, match="agrees asks about what all other filters let pass; put it last"):
        checking(enabled=["agrees", "echo"])
    with pytest.raises(ValueError, match="enabled"):
        checking(enabled=["agree"])
