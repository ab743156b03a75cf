"""The Batch API: the rows of live calls at half the price, left and come back to, and nothing paid for twice."""

import asyncio
import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from netllama.core.errors import StageError
from netllama.selfinstruct.rounds import grow_families
from netllama.teacher import batch_api_client, batch_api_files, retries
from netllama.teacher.batch_api_teacher import BatchTeacher
from netllama.teacher.budget import Budget, BudgetReached, Prices, Usage
from netllama.teacher.client import Teacher
from netllama.teacher.store import Request, Response, ResponseStore
from tests.support.batch_server import LOST, UNANSWERED, BatchServer, End
from tests.support.clones import ROOT
from tests.support.families import FAMILIES, family, tasks_for
from tests.support.openai_server import Answer, Asked, Refusal, Reply, new_tasks
from tests.support.racing import race
from tests.support.teacher_requests import LIVE, always, ask, request

KEY = "sk-this-key-must-never-be-seen"
DEAR = Prices(Decimal(1_000_000), Decimal(1_000_000))
"""A dollar a token, half of it in a batch."""
BOUND = DEAR.bound_price(request(""), batch=True)


@pytest.fixture(autouse=True)
def _in_a_folder_without_keys_and_short_waits(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.005)
    monkeypatch.setattr(batch_api_client, "LISTED_AFTER", 0.0)


def echo(asked: Asked) -> Reply:
    return Answer(asked.prompt)


def slots(number: int, **more: Any) -> list[Request]:
    """Their teacher is named, so that two servers of one test stand for the same provider."""
    return [request("https://provider.example/v1", slot, **more) for slot in range(number)]


def batch(
    server: BatchServer, requests: list[Request], store: ResponseStore | None = None, **settings: Any
) -> list[Response]:
    """The answers of one run."""

    async def run() -> list[Response]:
        kept = store if store is not None else ResponseStore(LIVE)
        async with BatchTeacher(server.url, kept, **{"poll_seconds": 0.005} | settings) as teacher:
            return await teacher.ask_all(requests)

    return asyncio.run(run())


def left_while_open(server: BatchServer, requests: list[Request]) -> None:
    """A run that ends at its first look at the batch that it has made."""
    server.interfere = lambda call: LOST if "batch_" in call else None
    with pytest.raises(StageError, match="cannot be reached"):
        batch(server, requests, max_retries=0)
    server.interfere = lambda call: None


def texts(responses: list[Response]) -> list[str]:
    return [response.text for response in responses]


def stored(requests: list[Request]) -> list[bool]:
    store = ResponseStore(LIVE)
    return [store.find(asked) is not None for asked in requests]


def each_once(server: BatchServer, requests: list[Request]) -> bool:
    """Each request is in exactly one batch."""
    return server.held == dict.fromkeys([asked.key for asked in requests], 1)


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_batch_leaves_the_rows_of_live_calls_but_for_the_mark_of_its_price(api: str) -> None:
    def some_of_each(asked: Asked) -> Reply:
        match int(asked.prompt.split()[-1]) % 4:
            case 0:
                return Answer(new_tasks(asked), "length", 9, 64)
            case 1:
                return Refusal(400, "content_filter")
            case 2 if api == "chat":
                return Answer("", refusal="no")
        return Answer("half an emoji \ud83d, a line\u2028end", "stop", 5, 6)

    requests = slots(9, api=api, stop=["###"])
    with BatchServer(some_of_each) as server:
        live = ask(server.live.url, requests, ResponseStore(Path("live.jsonl")))
        responses = batch(server, requests)
        bodies = [asked.body for asked in server.live.requests]
    assert responses == [row.model_copy(update={"batch": True}) for row in live]
    assert sorted(map(json.dumps, bodies[:9])) == sorted(map(json.dumps, bodies[9:])), "the order of keys included"
    stored, of_live = (
        [re.sub(r'"sha256": "\w+"', "", line) for line in path.read_bytes().decode().split("\n")]
        for path in (LIVE, Path("live.jsonl"))
    )
    assert sorted(line.replace('"batch": true', '"batch": false') for line in stored) == sorted(of_live)


def test_answers_come_in_the_order_of_the_requests_and_are_stored_in_it() -> None:
    requests = slots(5)
    with BatchServer(echo) as server:
        assert texts(batch(server, requests)) == [f"task {slot}" for slot in range(5)]
    rows = [json.loads(line)["text"] for line in LIVE.read_text().splitlines()]
    assert rows == [f"task {slot}" for slot in range(5)]


def test_what_is_stored_is_not_asked_again_and_needs_no_server() -> None:
    requests = slots(4)
    with BatchServer(echo) as server:
        batch(server, requests[:2])
        responses = batch(server, [requests[3], requests[1], requests[3], requests[0]])
        assert texts(responses) == ["task 3", "task 1", "task 3", "task 0"]
        assert server.held == dict.fromkeys([requests[place].key for place in (0, 1, 3)], 1)
    assert texts(batch(server, requests[:2])) == ["task 0", "task 1"], "the server is gone"


def test_progress_is_reported_as_the_provider_counts_and_as_answers_are_stored(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def run() -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []
        async with BatchTeacher(server.url, ResponseStore(LIVE), poll_seconds=0.001) as teacher:
            teacher.on_answer = lambda: seen.append((teacher.ready, teacher.asked))
            await teacher.ask_all(slots(4))
            await teacher.ask_all(slots(4))
            assert (teacher.asked, teacher.replayed) == (4, 4)
        return seen

    with BatchServer(echo, polls=3) as server:
        assert asyncio.run(run()) == [(1, 0), (2, 0), (0, 4)]
    [line] = capsys.readouterr().out.splitlines()
    assert line == "batch batch_0: 4 requests; you can stop now, the next run collects the answers"


CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from tests.support.teacher_requests import request
from netllama.teacher.batch_api_teacher import BatchTeacher
from netllama.teacher.store import ResponseStore

url, moment = sys.argv[1:]

def die(number):
    os.truncate("responses.jsonl", os.path.getsize("responses.jsonl") // 2)
    os.kill(os.getpid(), signal.SIGKILL)

async def run():
    store = ResponseStore(Path("responses.jsonl"))
    async with BatchTeacher(url, store, poll_seconds=0.005) as teacher:
        if moment == "mid-import":
            os.fsync = die
        await teacher.ask_all([request("https://provider.example/v1", slot) for slot in range(5)])

asyncio.run(run())
"""


@pytest.mark.parametrize("moment", ["POST /files", "POST /batches", "GET /batches/batch_0", "mid-import"])
def test_a_process_killed_at_any_moment_is_gone_on_with_and_nothing_is_asked_twice(moment: str) -> None:
    child: list[subprocess.Popen[bytes]] = []

    def kill(call: str) -> str | None:
        if call == moment and child[0].poll() is None:
            child[0].kill()
            child[0].wait()
            return UNANSWERED
        return None

    with BatchServer(echo, interfere=kill) as server:
        code = CHILD.format(root=str(ROOT), tests=str(ROOT / "tests"))
        child.append(subprocess.Popen([sys.executable, "-c", code, server.url, moment]))
        assert child[0].wait(60) == -signal.SIGKILL
        assert len(server.batches) == (moment != "POST /files")
        assert stored(slots(5)) == [moment == "mid-import"] * 2 + [False] * 3
        assert texts(batch(server, slots(5))) == [f"task {slot}" for slot in range(5)]
        assert each_once(server, slots(5))
    assert len(LIVE.read_text().splitlines()) == 5


@pytest.mark.parametrize("how", [LOST, UNANSWERED])
def test_a_run_that_ends_at_any_call_is_gone_on_with_and_nothing_is_asked_twice(how: str) -> None:
    """The network goes at the nth call, for good; to the provider that is a process that was killed."""
    ended = 0
    for last in range(99):
        LIVE.unlink(missing_ok=True)
        with BatchServer(echo, end=lambda number: End("expired", 2) if not number else End()) as server:
            here = server
            server.interfere = lambda call: how if len(here.calls) > last else None  # noqa: B023
            with contextlib.suppress(StageError):
                batch(server, slots(5), max_retries=0)
                break
            ended += 1
            server.interfere = lambda call: None
            if last % 2:  # without the notes, too
                shutil.rmtree("batches", ignore_errors=True)
            assert texts(batch(server, slots(5))) == [f"task {slot}" for slot in range(5)]
            assert [len(made.keys) for made in server.batches] == [5, 3]
        shutil.rmtree("batches")
    assert ended == 13


BATCH = """
import asyncio
from netllama.teacher.batch_api_teacher import BatchTeacher
from netllama.teacher.store import ResponseStore
from tests.support.teacher_requests import LIVE, request

async def run():
    async with BatchTeacher(URL, ResponseStore(LIVE), poll_seconds=0.05) as teacher:
        answers = await teacher.ask_all([request("https://provider.example/v1", slot) for slot in range(5)])
        assert [row.text for row in answers] == [f"task {slot}" for slot in range(5)]
"""


def test_two_processes_with_the_same_requests_create_one_batch(workdir: Path) -> None:
    slow_survey = {"GET /batches": 0.3}
    with BatchServer(echo, polls=3, interfere=lambda call: time.sleep(slow_survey.get(call, 0))) as server:
        race(workdir, f"URL = {server.url!r}{BATCH}", "asyncio.run(run())", "asyncio.run(run())")
        assert each_once(server, slots(5))
    assert len(LIVE.read_text().splitlines()) == 5, "both import it"


def test_a_creation_that_was_not_acknowledged_is_not_repeated() -> None:
    unanswered = iter([UNANSWERED])
    with BatchServer(
        echo, interfere=lambda call: next(unanswered, None) if call == "POST /batches" else None
    ) as server:
        assert texts(batch(server, slots(3))) == ["task 0", "task 1", "task 2"]
        assert each_once(server, slots(3))
        assert server.calls.count("POST /files") == 1


def test_a_lost_note_costs_one_download_and_a_note_of_another_server_is_not_taken_for_ours() -> None:
    with BatchServer(echo) as elsewhere:
        batch(elsewhere, [request("https://elsewhere.example/v1", slot) for slot in range(3)])
    with BatchServer(echo) as server:
        left_while_open(server, slots(3))
        Path("batches/batch_0.json").write_text('{"another": 64}')
        batch(server, slots(3))
        assert each_once(server, slots(3))
        downloads = [call for call in server.calls if call.endswith("/content")]
    assert downloads == ["GET /files/file-0/content", "GET /files/file-1/content"]


def test_nothing_is_asked_while_what_an_open_batch_asks_is_not_known() -> None:
    with BatchServer(echo) as server:
        left_while_open(server, slots(3))
        shutil.rmtree("batches")
        del server.files["file-0"]
        with pytest.raises(StageError, match="batch_0: cannot read its input file"):
            batch(server, slots(3))
        assert len(server.batches) == 1


def test_waiting_is_left_with_ctrl_c_and_come_back_to() -> None:
    async def leave(server: BatchServer) -> None:
        async with BatchTeacher(server.url, ResponseStore(LIVE), poll_seconds=0.005) as teacher:
            asking = asyncio.create_task(teacher.ask_all(slots(3)))
            while not server.batches or not server.batches[0].polls:
                await asyncio.sleep(0.005)
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking

    with BatchServer(echo, polls=10**6) as server:
        asyncio.run(leave(server))
        server.finish(server.batches[0])
        assert texts(batch(server, slots(3), poll_seconds=99)) == ["task 0", "task 1", "task 2"]
        assert each_once(server, slots(3))


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_the_partial_results_of_a_batch_are_kept_and_the_rest_goes_into_a_new_one(status: str) -> None:
    with BatchServer(echo, end=lambda number: End(status, 2) if number < 2 else End()) as server:
        assert texts(batch(server, slots(6))) == [f"task {slot}" for slot in range(6)]
        sizes = [len(made.keys) for made in server.batches]
    assert sizes == [6, 4, 2]


def test_batches_without_any_answer_are_tried_max_retries_times_more() -> None:
    with BatchServer(echo, end=lambda number: End("expired", 0)) as server:
        with pytest.raises(StageError, match=r"3 requests have no answer after 3 attempts; .*batch_expired") as error:
            batch(server, slots(3), max_retries=2)
        assert len(server.batches) == 3
    assert "\n" not in str(error.value)


def test_a_batch_that_fails_is_one_line_with_its_first_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    budget = Budget(DEAR)
    failed = End("failed", error={"code": "model_not_found", "message": f"no model\nfor {KEY}", "line": 1})
    with BatchServer(echo, end=lambda number: End() if number else failed) as server:
        with pytest.raises(StageError, match=r"batch_0 failed \(model_not_found: no model for \[key\]\)") as error:
            batch(server, slots(3), budget=budget)
        assert (budget.spent, budget.reserved) == (0, 0)
        assert texts(batch(server, slots(3))) == ["task 0", "task 1", "task 2"], "mended"
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("errors", [None, [], ["Unknown"], {"data": None}])
def test_a_batch_that_fails_without_a_reason_is_one_line(errors: Any) -> None:
    with BatchServer(echo) as server:
        about = json.dumps({"id": "batch_0", "status": "failed", "errors": errors}).encode()
        server.interfere = lambda call: about if call == "GET /batches/batch_0" else None
        with pytest.raises(StageError, match="batch_0 failed"):
            batch(server, slots(1))


def test_a_batch_too_many_for_the_providers_queue_is_made_again_when_others_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch_api_files, "MAX_REQUESTS", 2)
    full = End("failed", error={"code": "token_limit_exceeded", "message": "Enqueued token limit reached"})
    with BatchServer(echo, end=lambda number: full if number == 1 else End()) as server:
        assert texts(batch(server, slots(4))) == [f"task {slot}" for slot in range(4)]
        assert [len(made.keys) for made in server.batches] == [2, 2, 2]
    with BatchServer(echo, end=lambda number: full) as server, pytest.raises(StageError, match="Enqueued token limit"):
        batch(server, slots(6)[4:])


def test_requests_refused_for_now_go_into_the_next_batch() -> None:
    refused: set[str] = set()

    def at_first(asked: Asked) -> Reply:
        number = int(asked.prompt.split()[-1])
        if number % 2 and asked.prompt not in refused:
            refused.add(asked.prompt)
            return Refusal(429 if number == 1 else 500)
        return Answer(asked.prompt)

    with BatchServer(at_first) as server:
        assert texts(batch(server, slots(5), max_retries=0)) == [f"task {slot}" for slot in range(5)]
        assert [len(made.keys) for made in server.batches] == [5, 2]


@pytest.mark.parametrize(
    ("refusal", "line"),
    [
        (Refusal(418, message=f"bad {KEY}"), r"answered 418 \(bad \[key\]\)"),
        (Refusal(402), "wants to be paid"),
        (Refusal(404), "has no model small"),
        (Refusal(429, "insufficient_quota"), "quota is exhausted"),
    ],
)
def test_a_request_refused_for_good_ends_the_run_when_the_rest_is_stored(
    refusal: Refusal, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    broken = True

    def refuse_the_second(asked: Asked) -> Reply:
        return refusal if broken and asked.prompt == "task 1" else Answer(asked.prompt)

    with BatchServer(refuse_the_second) as server:
        with pytest.raises(StageError, match=line) as error:
            batch(server, slots(3))
        assert stored(slots(3)) == [True, False, True]
        assert KEY not in str(error.value)
        broken = False
        assert texts(batch(server, slots(3))) == ["task 0", "task 1", "task 2"]
        assert [len(made.keys) for made in server.batches] == [3, 1]


def test_a_model_that_wants_max_completion_tokens_gets_it_in_this_run_and_the_next() -> None:
    def newer_model(asked: Asked) -> Reply:
        old = "max_tokens" in asked.body
        return Refusal(400, "unsupported_parameter", param="max_tokens") if old else Answer(asked.prompt)

    requests = slots(6, api="chat")
    with BatchServer(newer_model) as server:
        assert texts(batch(server, requests[:3], max_retries=0)) == ["task 0", "task 1", "task 2"]
        shutil.rmtree("batches")
        assert len(batch(server, requests, max_retries=0)) == 6
        assert [len(made.keys) for made in server.batches] == [3, 3, 3]


def test_two_open_batches_of_earlier_runs_are_waited_for_and_the_rest_is_asked_at_once() -> None:
    with BatchServer(echo, polls=10**6) as server:
        for start in (0, 2):
            left_while_open(server, slots(4)[start : start + 2])
        server.polls = 2
        assert texts(batch(server, slots(7))) == [f"task {slot}" for slot in range(7)]
        assert each_once(server, slots(7))
        assert len(server.batches) == 3


def test_only_batches_of_ours_are_touched_on_however_many_pages() -> None:
    with BatchServer(echo, page=2) as server:
        file = server.add_file(b"{}")
        left_while_open(server, slots(3))
        for number in range(1, 7):
            about = server.batches[0].about | {"id": f"other_{number}", "metadata": None, "input_file_id": file}
            server.batches.append(type(server.batches[0])(about, [], End()))
        batch(server, slots(3))
        assert each_once(server, slots(3))
        assert server.calls.count(f"GET /files/{file}/content") == 0


@pytest.mark.parametrize(("limit", "value"), [("MAX_REQUESTS", 2), ("MAX_BYTES", 600)])
def test_more_than_one_batch_can_hold_is_split(limit: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_api_files, limit, value)
    with BatchServer(echo) as server:
        assert texts(batch(server, slots(5))) == [f"task {slot}" for slot in range(5)]
        assert [len(made.keys) for made in server.batches] == [2, 2, 1]
        assert each_once(server, slots(5))


def test_a_batch_is_of_one_model_and_one_api() -> None:
    requests = [*slots(2), *slots(2, api="chat"), slots(1)[0].model_copy(update={"model": "large"})]
    with BatchServer(echo) as server:
        assert len(batch(server, requests)) == 5
        assert sorted(len(made.keys) for made in server.batches) == [1, 2, 2]


def test_a_higher_limit_waits_for_the_batch_under_way_and_asks_truncated_answers_again() -> None:
    def cut(asked: Asked) -> Reply:
        cut = asked.prompt == "task 1" and asked.body["max_tokens"] == 64
        return Answer("text", "length" if cut else "stop", 5, 64 if cut else 7)

    with BatchServer(cut) as server:
        left_while_open(server, slots(3))
        responses = batch(server, slots(3, max_tokens=128))
        assert [response.max_tokens for response in responses] == [64, 128, 64]
        assert [len(made.keys) for made in server.batches] == [3, 1]


def test_one_key_with_two_limits_is_asked_in_two_batches() -> None:
    with BatchServer(always(Answer("text", "length", 5, 64))) as server:
        responses = batch(server, [*slots(1), *slots(1, max_tokens=128)])
        assert [response.max_tokens for response in responses] == [64, 128]
        assert len(server.batches) == 2


def test_an_answer_that_is_longer_than_its_limit_is_not_asked_for_ever() -> None:
    with BatchServer(always(Answer("text", "stop", 5, 99))) as server:
        assert batch(server, slots(1)) == batch(server, slots(1))
        assert len(server.batches) == 1


@pytest.mark.parametrize("damage", ["cut in a line", "cut at a line's end", "no JSON", "no answer", "empty"])
def test_results_that_can_not_be_read_are_read_again_and_never_paid_again(damage: str) -> None:
    damaged = True

    def spoil(call: str) -> bytes | None:
        if not damaged or "content" not in call:
            return None
        lines = server.files[call.split("/")[2]].splitlines(keepends=True)
        changed = json.dumps(json.loads(lines[-1]) | {"response": {"status_code": 200, "body": "<html>"}})
        spoilt = {"cut in a line": lines[-1][:40], "cut at a line's end": b"", "no JSON": b"<html>\n"}
        return b"" if damage == "empty" else b"".join(lines[:-1]) + spoilt.get(damage, changed.encode() + b"\n")

    with BatchServer(echo, interfere=spoil) as server:
        with pytest.raises(StageError, match=r"batch_0: cannot read (line 3|the end) of file file-1") as error:
            batch(server, slots(3))
        assert "\n" not in str(error.value)
        assert sum(stored(slots(3))) == (0 if damage == "empty" else 2), "what can be read is kept"
        assert len([call for call in server.calls if "content" in call]) == 2
        damaged = False
        assert texts(batch(server, slots(3))) == ["task 0", "task 1", "task 2"]
        assert each_once(server, slots(3))


def test_results_that_the_provider_has_deleted_are_asked_again_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with BatchServer(echo) as server:
        batch(server, slots(2))
        LIVE.unlink()
        del server.files["file-1"]
        assert texts(batch(server, slots(2))) == ["task 0", "task 1"]
    assert "batch batch_0: its file file-1 is gone; its requests are asked again" in capsys.readouterr().out


def test_the_answers_of_a_lost_store_are_still_at_the_provider() -> None:
    with BatchServer(echo) as server:
        batch(server, slots(4))
        LIVE.unlink()
        assert texts(batch(server, slots(4))) == [f"task {slot}" for slot in range(4)]
        assert each_once(server, slots(4))


def test_the_cap_is_never_passed_and_what_was_bought_is_stored_when_it_is_reached() -> None:
    cap, budget = 4 * BOUND + 1, Budget(DEAR, 4 * BOUND + 1)
    with BatchServer(always(Answer("text", "stop", 5, 11))) as server:
        with pytest.raises(BudgetReached):
            batch(server, slots(99), budget=budget)
        sizes = [len(made.keys) for made in server.batches]
        paid = sum(DEAR.price_tokens(Usage(*tokens), "batch") for tokens in server.live.billed)
        bought = sum(sizes)
        assert stored(slots(99)) == [True] * bought + [False] * (99 - bought)
        assert paid == budget.spent == 8 * bought <= cap
        assert cap - paid < BOUND
        assert budget.reserved == 0
        with pytest.raises(BudgetReached):
            batch(server, slots(99), budget=Budget(DEAR, cap))
        assert len(server.batches) == len(sizes), "what was bought before counts"
    assert sizes[0] == 4
    assert len(sizes) > 2


def test_what_is_in_an_open_batch_of_an_earlier_run_is_reserved() -> None:
    with BatchServer(always(Answer("text", "stop", 5, 11))) as server:
        left_while_open(server, slots(3))
        budget = Budget(DEAR, 3 * BOUND)
        batch(server, slots(4), budget=budget)
        assert [len(made.keys) for made in server.batches] == [3, 1]
        assert server.calls.index("POST /files", 4) > server.calls.index("GET /batches/batch_0")
        assert (budget.spent, budget.reserved) == (4 * 8, 0)


def test_only_what_was_answered_is_paid_and_an_answer_without_usage_counts_as_its_bound() -> None:
    def some(asked: Asked) -> Reply:
        if asked.prompt == "task 0":
            return Refusal(400, "content_filter")
        return Answer("text", "stop", 0, 0) if asked.prompt == "task 1" else Answer("text", "stop", 5, 11)

    budget = Budget(DEAR)
    with BatchServer(some, end=lambda number: End() if number else End("expired", 3)) as server:
        batch(server, slots(4), budget=budget)
    assert (budget.spent, budget.reserved) == (DEAR.bound_price(slots(2)[1], batch=True) + 8 + 8, 0)


def test_a_wrong_key_is_one_request_and_one_line_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with BatchServer(echo, interfere=lambda call: Refusal(401, message=f"bad {KEY}")) as server:
        with pytest.raises(StageError, match=r"rejects the key in OPENAI_API_KEY \(401: bad \[key\]\)") as error:
            batch(server, slots(5))
        assert server.calls == ["GET /batches"]
        assert server.keys_sent == {KEY}
    assert KEY not in str(error.value)
    assert error.value.__context__ is None or KEY not in str(error.value.__context__)


def test_the_key_is_sent_and_neither_shown_nor_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with BatchServer(echo) as server:
        batch(server, slots(3))
        assert server.keys_sent == {KEY}
        assert KEY.encode() not in b"".join(server.files.values())
        assert KEY not in json.dumps([made.about for made in server.batches])
    assert KEY not in "".join(capsys.readouterr())
    files = [path for path in Path().rglob("*") if path.is_file()]
    assert any(path.parent.name == "batches" for path in files)
    assert not any(KEY.encode() in path.read_bytes() for path in files)


@pytest.mark.parametrize("fault", [Refusal(500), Refusal(429), LOST])
def test_every_call_goes_on_after_faults_that_pass(fault: Refusal | str) -> None:
    """Two faults in a row before each call, uploads, polls and downloads among them."""
    faults_of: dict[str, int] = {}

    def two_at_first(call: str) -> Any:
        faults_of[call] = faults_of.get(call, 0) + 1
        return fault if faults_of[call] <= 2 else None

    with BatchServer(echo, interfere=two_at_first) as server:
        assert texts(batch(server, slots(3), max_retries=2)) == ["task 0", "task 1", "task 2"]
        assert each_once(server, slots(3))


def test_faults_between_polls_do_not_add_up_and_too_many_in_a_row_are_one_line() -> None:
    polls = 0

    def mostly_broken(call: str) -> Refusal | None:
        nonlocal polls
        polls += "batch_0" in call
        return Refusal(500) if "batch_0" in call and (polls % 3 or polls > 30) else None

    with BatchServer(echo, interfere=mostly_broken, polls=99) as server:
        with pytest.raises(StageError, match=r"answered 500 .*run again to continue"):
            batch(server, slots(3), max_retries=2)
        assert server.batches[0].polls == 10


@pytest.mark.parametrize("call", ["GET /batches", "POST /files", "POST /batches"])
def test_a_server_without_a_batch_api_is_one_line_that_names_the_other_mode(call: str) -> None:
    missing: Callable[[str], Refusal | None] = lambda asked: Refusal(404) if asked == call else None  # noqa: E731
    with BatchServer(echo, interfere=missing) as server:
        with pytest.raises(StageError, match=r"has no Batch API \(404\); use teacher.mode: live"):
            batch(server, slots(1))
        assert not server.batches


def test_a_page_in_the_place_of_the_api_is_one_line() -> None:
    page = b"<html>welcome</html>"
    with BatchServer(echo, interfere=lambda call: page) as server, pytest.raises(StageError, match="base_url"):
        batch(server, slots(1))


def test_an_id_that_is_no_name_is_not_used_as_one() -> None:
    about = b'{"id": "../../x"}'

    def rename(call: str) -> bytes | None:
        return about if call == "POST /batches" else None

    with BatchServer(echo, interfere=rename) as server, pytest.raises(StageError, match="base_url"):
        batch(server, slots(1))
    assert not Path("batches").exists()


def test_families_grown_by_batches_are_those_grown_live_at_half_the_price() -> None:
    def grown(teacher: Any) -> tuple[list[Any], Decimal]:
        families = [family(name, num_instructions_to_generate=9, requests_per_round=3) for name in FAMILIES[:2]]

        async def run() -> None:
            async with teacher:
                assert await grow_families(families, teacher, lambda: None)

        asyncio.run(run())
        paid = sum((DEAR.price_answer(response) for one in families for response in one.responses), Decimal(0))
        return [(one.kept, one.rejected, one.rounds) for one in families], paid

    # The first batch expires with one of its answers.
    with BatchServer(tasks_for, end=lambda number: End("expired", answered=1) if number == 0 else End()) as server:
        live, price = grown(Teacher(server.live.url, ResponseStore(Path("live.jsonl")), 8))
        batched, batch_price = grown(
            BatchTeacher(server.url, ResponseStore(LIVE), budget=Budget(DEAR), poll_seconds=0.005)
        )
    assert batched == live
    assert batched[0][0]
    assert batched[0][1]
    assert batched[0][2] > 1
    assert batch_price == price / 2
