"""The client: stored answers first, one clear line for each refusal, never the key."""

import asyncio
import contextlib
import email.utils
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netllama.core.errors import StageError
from netllama.teacher import retries
from netllama.teacher.client import Teacher
from netllama.teacher.store import Response, ResponseStore
from tests.support.clones import ROOT
from tests.support.openai_server import (
    CUT_OFF,
    DROPPED,
    HANG,
    TRUNCATED,
    Answer,
    Asked,
    OpenAIServer,
    Page,
    Refusal,
    Reply,
    new_tasks,
    strict_answer,
)
from tests.support.racing import race
from tests.support.teacher_requests import LIVE, always, ask, at_first, request

KEY = "sk-this-key-must-never-be-seen"


@pytest.fixture(autouse=True)
def _in_a_folder_without_keys(workdir: Path) -> None:
    """No .env, no OPENAI_API_KEY."""


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.005)


@pytest.mark.parametrize(("api", "path"), [("completions", "/v1/completions"), ("chat", "/v1/chat/completions")])
def test_an_answer_carries_text_usage_and_finish_reason(api: str, path: str) -> None:
    with OpenAIServer(always(Answer("BGP is a path vector protocol.", "length", 5, 64))) as server:
        asked = request(server.url, api=api)
        [response] = ask(server.url, [asked])
    assert response == Response(
        key=asked.key,
        draw="family/0/0",
        model="small",
        text="BGP is a path vector protocol.",
        finish_reason="length",
        max_tokens=64,
        prompt_tokens=5,
        completion_tokens=64,
    )
    [sent] = server.requests
    prompt = {"prompt": "task 0"} if api == "completions" else {"messages": [{"role": "user", "content": "task 0"}]}
    assert sent.path == path
    assert sent.body == {"model": "small", "temperature": 0.7, "top_p": 0.95, "max_tokens": 64} | prompt


def test_answers_come_in_the_order_of_the_requests_whatever_the_order_of_arrival() -> None:
    def slow_first(asked: Asked) -> Reply:
        return Answer(asked.prompt, delay=0.2 if asked.prompt == "task 0" else 0)

    with OpenAIServer(slow_first) as server:
        responses = ask(server.url, [request(server.url, slot) for slot in range(5)])
    assert [response.text for response in responses] == [f"task {slot}" for slot in range(5)]


def test_no_more_than_max_concurrency_requests_are_under_way_at_once() -> None:
    with OpenAIServer(always(Answer("text", delay=0.05))) as server:
        ask(server.url, [request(server.url, slot) for slot in range(9)], max_concurrency=3)
    assert server.most_at_once == 3


def test_a_stored_answer_is_not_asked_again_and_needs_neither_server_nor_key() -> None:
    url = "https://api.example.com/v1"
    asked, store = request(url), ResponseStore(LIVE)
    stored = Response(
        key=asked.key,
        draw=asked.draw,
        model="small",
        text="stored",
        finish_reason="stop",
        max_tokens=64,
        prompt_tokens=1,
        completion_tokens=1,
    )
    store.add(stored)
    assert ask(url, [asked], store) == [stored]


def test_raising_the_limit_asks_again_for_truncated_answers_only() -> None:
    def cut_the_odd_ones(asked: Asked) -> Reply:
        cut = asked.prompt in ("task 1", "task 3") and asked.body["max_tokens"] == 64
        return Answer("text", "length" if cut else "stop", completion_tokens=asked.body["max_tokens"] if cut else 7)

    with OpenAIServer(cut_the_odd_ones) as server:
        ask(server.url, [request(server.url, slot) for slot in range(4)])
        ask(server.url, [request(server.url, slot, max_tokens=128) for slot in range(4)])
        again = server.requests[4:]
    assert sorted(asked.prompt for asked in again) == ["task 1", "task 3"]
    assert {asked.body["max_tokens"] for asked in again} == {128}


def test_a_remote_server_without_a_key_is_one_line_that_names_the_variable() -> None:
    url = "https://api.example.com/v1"
    with pytest.raises(StageError, match="OPENAI_API_KEY") as error:
        ask(url, [request(url)])
    assert url in str(error.value)
    assert "\n" not in str(error.value)


def test_a_loopback_server_needs_no_key_and_gets_none_of_ours() -> None:
    with OpenAIServer(always(Answer("text"))) as server:
        ask(server.url, [request(server.url)])
    assert server.requests[0].headers["authorization"] == "Bearer none"


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_the_key_is_sent_from_the_environment_or_dotenv_and_not_stored(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == ".env":
        Path(".env").write_text(f"OPENAI_API_KEY={KEY}\n")
    else:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with OpenAIServer(always(Answer("text"))) as server:
        ask(server.url, [request(server.url)])
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in LIVE.read_text()


def test_a_proxy_of_the_environment_is_not_asked_for_a_loopback_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(always(Refusal(502))) as proxy, OpenAIServer(always(Answer("text"))) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert ask(server.url, [request(server.url)])[0].text == "text"
    assert proxy.requests == []


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        (Refusal(401, "invalid_api_key", f"Incorrect API key provided: {KEY}"), "rejects the key in OPENAI_API_KEY"),
        (Refusal(403, "forbidden", f"{KEY} may not"), "may not use small"),
        (Refusal(404, "model_not_found"), "has no model small"),
        (Refusal(429, "insufficient_quota", "You exceeded your current quota"), "quota is exhausted"),
        (Refusal(400, "context_length_exceeded", f"max_tokens is\ntoo large for {KEY}"), "max_tokens is too large"),
    ],
)
def test_a_refusal_that_no_retry_mends_ends_at_once_in_one_line_without_the_key(
    refusal: Refusal, says: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with OpenAIServer(always(refusal)) as server, pytest.raises(StageError, match=says) as error:
        ask(server.url, [request(server.url)])
    assert len(server.requests) == 1
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.url in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.__suppress_context__ or not error.value.__context__, "a traceback would show the request"
    assert KEY not in str(error.value) + "".join(capfd.readouterr())


TIMED_OUT = "no answer within teacher.request_timeout"
PASSING: dict[str, tuple[Reply, str]] = {
    "408": (Refusal(408), "answered 408"),
    "409": (Refusal(409), "answered 409"),
    "429": (Refusal(429, "rate_limit_exceeded", f"slow down, {KEY}"), "still rate-limited"),
    "500": (Refusal(500, message=f"out of memory for {KEY}"), r"answered 500 \(out of memory for \[key\]\)"),
    "503 without Retry-After": (Refusal(503, retry_after=None), "answered 503"),
    "529": (Refusal(529), "answered 529"),
    "a connection that is dropped": (DROPPED, "cannot be reached"),
    "a body that is dropped in its middle": (CUT_OFF, "cannot be reached"),
    "JSON without an end": (TRUNCATED, "cut off"),
    "a server that hangs": (HANG, TIMED_OUT),
    "a body that trickles": (Answer("x" * 400, trickle=0.05), TIMED_OUT),
}


def choose_timeout(fault: str) -> float:
    """Seconds to wait for an answer: few if none comes, otherwise enough for a busy machine."""
    return 0.5 if PASSING[fault][1] == TIMED_OUT else 30


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_is_retried(fault: str) -> None:
    with OpenAIServer(at_first(PASSING[fault][0])) as server:
        assert ask(server.url, [request(server.url)], request_timeout=choose_timeout(fault))[0].text == "text"
    assert len(server.requests) == 2


@pytest.mark.parametrize("fault", PASSING)
def test_a_lasting_fault_ends_in_one_line_after_the_retries(
    fault: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    reply, says = PASSING[fault]
    with OpenAIServer(always(reply)) as server, pytest.raises(StageError, match=says) as error:
        ask(server.url, [request(server.url)], max_retries=2, request_timeout=choose_timeout(fault))
    assert len(server.requests) == 3
    assert server.url in str(error.value)
    assert "stored" in str(error.value)
    assert "\n" not in str(error.value)
    assert KEY not in str(error.value) + "".join(capfd.readouterr())


def test_six_retries_are_the_default() -> None:
    with OpenAIServer(always(Refusal(500))) as server, pytest.raises(StageError):
        ask(server.url, [request(server.url)])
    assert len(server.requests) == 7


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "2"}, 2),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "soon", "retry-after": "3"}, 3),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_the_wait_that_a_server_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retries.parse_retry_after(headers) == seconds


def test_retry_after_as_a_date_is_the_time_until_then() -> None:
    date = email.utils.formatdate(time.time() + 90, usegmt=True)
    assert retries.parse_retry_after({"retry-after": date}) == pytest.approx(90, abs=2)


def test_waits_double_with_jitter_up_to_a_minute_and_retry_after_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.5)
    runs = []
    for _ in range(20):
        backoff = retries.Backoff(10)
        runs.append([backoff.next_wait(retries.Retryable("")) for _ in range(11)])
    for number, waits in enumerate(zip(*runs, strict=True)):
        if number == 10:
            assert set(waits) == {None}, "ten retries were allowed"
            continue
        longest = min(0.5 * 2**number, 60)
        assert all(wait is not None and longest / 2 <= wait <= longest for wait in waits)
        assert len(set(waits)) > 1
    waited = retries.Backoff(10).next_wait(retries.Retryable("", retry_after=7.0))
    assert waited is not None
    assert 7 <= waited <= 7.7


def test_a_429_is_no_failure_while_others_are_answered() -> None:
    limited = retries.Retryable("", rate_limited=True)
    backoff = retries.Backoff(2)
    assert all(backoff.next_wait(limited, answers) is not None for answers in range(50))
    assert [backoff.next_wait(limited, 49) is None for _ in range(2)] == [False, True]


def test_other_faults_count_whoever_was_answered_meanwhile() -> None:
    backoff = retries.Backoff(2)
    backoff.next_wait(retries.Retryable("", rate_limited=True), 1)
    assert [backoff.next_wait(retries.Retryable(""), answers) is None for answers in (2, 3)] == [False, True]


def test_retry_after_is_waited_for() -> None:
    with OpenAIServer(at_first(Refusal(503, retry_after=0.4))) as server:
        before = time.monotonic()
        ask(server.url, [request(server.url)])
    assert time.monotonic() - before >= 0.4


def test_a_wait_of_hours_ends_the_run_and_says_how_long() -> None:
    refusal = Refusal(429, "rate_limit_exceeded", retry_after=7 * 3600)
    with OpenAIServer(always(refusal)) as server, pytest.raises(StageError, match=r"asks to wait 7\.0 hours"):
        ask(server.url, [request(server.url)])
    assert len(server.requests) == 1


def test_a_wrong_key_makes_one_request_at_any_concurrency() -> None:
    with OpenAIServer(always(Refusal(401))) as server, pytest.raises(StageError, match="rejects the key"):
        ask(server.url, [request(server.url, slot) for slot in range(64)], max_concurrency=64)
    assert len(server.requests) == 1


def test_one_request_is_alone_under_way_until_the_server_has_answered() -> None:
    replies: list[Reply] = [Refusal(503), DROPPED, Answer("text", delay=0.2)]
    with OpenAIServer(lambda asked: replies[asked.number] if asked.number < 3 else Answer("", delay=0.5)) as server:
        ask(server.url, [request(server.url, slot) for slot in range(16)], max_concurrency=16)
    assert server.prompts[:3] == ["task 0"] * 3
    assert server.most_at_once > 4


def test_a_failure_calls_off_those_that_wait_for_their_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 60)

    def refuse_in_the_end(asked: Asked) -> Reply:
        if asked.prompt == "task 2":
            time.sleep(0.3)
            return Refusal(401)
        return Refusal(503, retry_after=None) if asked.prompt == "task 1" else Answer("text")

    with OpenAIServer(refuse_in_the_end) as server:
        before = time.monotonic()
        with pytest.raises(StageError, match="401"):
            ask(server.url, [request(server.url, slot) for slot in range(9)], max_concurrency=3)
    assert time.monotonic() - before < 20
    assert server.prompts.count("task 1") == 1


def test_after_a_failure_what_was_under_way_is_not_tried_again() -> None:
    def one_refused_the_other_broken(asked: Asked) -> Reply:
        time.sleep({"task 1": 0.2, "task 2": 0.6}.get(asked.prompt, 0))
        return {"task 1": Refusal(401), "task 2": Refusal(503)}.get(asked.prompt, Answer("text"))

    with OpenAIServer(one_refused_the_other_broken) as server, pytest.raises(StageError, match="401"):
        ask(server.url, [request(server.url, slot) for slot in range(3)])
    assert sorted(server.prompts) == ["task 0", "task 1", "task 2"]


@pytest.mark.parametrize("code", ["content_filter", "content_policy_violation"])
def test_a_prompt_that_the_provider_withholds_is_an_answer_of_its_own(code: str) -> None:
    with OpenAIServer(lambda asked: Refusal(400, code) if asked.prompt == "task 0" else Answer("text")) as server:
        requests = [request(server.url, slot, "chat") for slot in range(3)]
        responses = ask(server.url, requests)
        assert ask(server.url, requests) == responses
    assert [response.finish_reason for response in responses] == ["content_filter", "stop", "stop"]
    assert (responses[0].text, responses[0].prompt_tokens) == ("", 0)
    assert len(server.requests) == 3


def test_the_models_own_refusal_is_told_apart_from_an_answer() -> None:
    with OpenAIServer(always(Answer("", refusal="I can't help with that."))) as server:
        [response] = ask(server.url, [request(server.url, api="chat")])
    assert (response.text, response.finish_reason) == ("I can't help with that.", "refusal")


def test_a_schema_is_sent_as_a_strict_one_and_penalties_and_stop_where_they_are_set() -> None:
    task = {"type": "object", "properties": {"instruction": {"type": "string"}}}
    schema = {"type": "object", "properties": {"tasks": {"type": "array", "items": task}}}
    with OpenAIServer(lambda asked: Answer(strict_answer(asked))) as server:
        sent = request(server.url, api="chat", json_schema=schema, stop=["###"], frequency_penalty=0.5)
        [response] = ask(server.url, [sent])
    body = server.requests[0].body
    assert body["response_format"]["json_schema"] == {"name": "tasks", "strict": True, "schema": schema}
    assert (body["stop"], body["frequency_penalty"], "presence_penalty" in body) == (["###"], 0.5, False)
    assert response.text.count("instruction") == 3


def test_a_model_that_wants_max_completion_tokens_gets_it_from_then_on() -> None:
    def newer_model(asked: Asked) -> Reply:
        old = "max_tokens" in asked.body
        return Refusal(400, "unsupported_parameter", param="max_tokens") if old else Answer("text")

    with OpenAIServer(newer_model) as server:
        responses = ask(server.url, [request(server.url, slot, "chat") for slot in range(5)])
    assert [response.text for response in responses] == ["text"] * 5
    assert [asked.body.get("max_completion_tokens") for asked in server.requests] == [None, 64, 64, 64, 64, 64]


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_server_that_takes_neither_name_of_the_limit_is_one_line(api: str) -> None:
    refusal = Refusal(400, "unsupported_parameter", "no limit here", param="max_tokens")
    with OpenAIServer(always(refusal)) as server, pytest.raises(StageError, match=r"answered 400 \(no limit here\)"):
        ask(server.url, [request(server.url, api=api)])
    assert len(server.requests) == (2 if api == "chat" else 1)


def test_equal_requests_of_one_list_are_asked_once() -> None:
    with OpenAIServer(always(Answer("text"))) as server:
        responses = ask(server.url, [request(server.url), request(server.url)])
    assert len(server.requests) == 1
    assert responses[0] == responses[1]


ASK = """

from tests.support.teacher_requests import LIVE, ask, request

def run(slots):
    texts = [row.text for row in ask(URL, [request(URL, slot) for slot in slots], max_concurrency=3)]
    assert texts == [f"task {slot}" for slot in slots], texts
"""


def test_two_processes_with_the_same_requests_share_the_work_and_ask_nothing_twice(workdir: Path) -> None:
    with OpenAIServer(lambda asked: Answer(asked.prompt, delay=0.02)) as server:
        race(workdir, f"URL = {server.url!r}{ASK}", "run(range(12))", "run(range(12))", "run(range(11, 3, -1))")
    assert sorted(asked.prompt for asked in server.requests) == sorted(f"task {slot}" for slot in range(12))
    assert len(LIVE.read_bytes().splitlines()) == 12


def test_what_a_killed_process_was_asking_for_is_asked_by_the_one_that_waits_for_it(workdir: Path) -> None:
    asked_for = threading.Event()

    def first_hangs(asked: Asked) -> Reply:
        asked_for.set()
        return Answer(asked.prompt) if asked.number else HANG

    with OpenAIServer(first_hangs) as server:
        code = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nURL = {server.url!r}{ASK}run([0])"
        with subprocess.Popen([sys.executable, "-c", code]) as asker:
            assert asked_for.wait(60)
            threading.Timer(0.3, asker.kill).start()
            assert [row.text for row in ask(server.url, [request(server.url)])] == ["task 0"]
            assert asker.wait(10) == -signal.SIGKILL
    assert len(server.requests) == 2
    assert len(LIVE.read_bytes().splitlines()) == 1


def test_the_stored_rows_are_the_same_bytes_at_every_concurrency() -> None:
    files = []
    with OpenAIServer(lambda asked: Answer(new_tasks(asked), delay=0.3 if asked.number >= 64 else 0)) as server:
        for concurrency in (1, 64):
            path = Path(f"{concurrency}.jsonl")
            ask(server.url, [request(server.url, slot) for slot in range(64)], ResponseStore(path), concurrency)
            files.append(path.read_bytes().splitlines())
    assert server.most_at_once > 4
    assert sorted(files[0]) == sorted(files[1])


def test_an_unreachable_server_is_one_line() -> None:
    with OpenAIServer(always(Answer("text"))) as server:
        url = server.url
    with pytest.raises(StageError, match="cannot be reached") as error:
        ask(url, [request(url)])
    assert url in str(error.value)


@pytest.mark.parametrize(
    "page",
    [Page("<html>welcome</html>"), Page("{}", "application/json"), Page("<html>", "application/json")],
)
def test_a_server_that_is_no_openai_api_is_one_line(page: Page) -> None:
    with OpenAIServer(always(page)) as server, pytest.raises(StageError, match="base_url"):
        ask(server.url, [request(server.url)])


def test_half_an_emoji_and_a_noncharacter_are_stored_as_question_marks() -> None:
    """json.loads gives a lone surrogate for an escape that a token limit cut in two; UTF-8 has no bytes for it."""
    with OpenAIServer(always(Answer("\ufdd0cut \ud83d", "length"))) as server:
        [response] = ask(server.url, [request(server.url)])
        assert response.text == "?cut ?"
        assert ask(server.url, [request(server.url)]) == [response]
    assert len(server.requests) == 1


def test_what_was_answered_before_a_failure_is_stored_and_not_asked_again() -> None:
    broken = True

    def fail_on_the_fourth(asked: Asked) -> Reply:
        return Refusal(401) if broken and asked.prompt == "task 3" else Answer(asked.prompt)

    with OpenAIServer(fail_on_the_fourth) as server:
        requests = [request(server.url, slot) for slot in range(6)]
        with pytest.raises(StageError):
            ask(server.url, requests, max_concurrency=1)
        assert server.prompts == ["task 0", "task 1", "task 2", "task 3"]
        broken = False
        responses = ask(server.url, requests, max_concurrency=1)
    assert server.prompts[4:] == ["task 3", "task 4", "task 5"]
    assert [response.text for response in responses] == [f"task {slot}" for slot in range(6)]


def test_answers_under_way_when_another_fails_are_paid_for_and_stored() -> None:
    def refuse_one_answer_the_other_late(asked: Asked) -> Reply:
        if asked.prompt == "task 1":
            time.sleep(0.1)
            return Refusal(401)
        return Answer(asked.prompt, delay=0.3 if asked.prompt == "task 2" else 0)

    with OpenAIServer(refuse_one_answer_the_other_late) as server:
        requests = [request(server.url, slot) for slot in range(4)]
        with pytest.raises(StageError, match="401"):
            ask(server.url, requests, max_concurrency=2)
    assert sorted(server.prompts) == ["task 0", "task 1", "task 2"]
    store = ResponseStore(LIVE)
    assert [bool(store.find(asked)) for asked in requests] == [True, False, True, False]


def test_an_answer_that_can_not_be_stored_ends_the_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: ResponseStore, response: Response) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ResponseStore, "add", full)
    with OpenAIServer(always(Answer("text"))) as server, pytest.raises(OSError, match="No space left"):
        ask(server.url, [request(server.url, slot) for slot in range(9)], max_concurrency=1)
    assert len(server.requests) == 1


def test_an_embedded_teacher_that_does_not_start_is_started_once(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []

    def start(cache: Path) -> Path:
        starts.append(cache)
        raise StageError("no network, no model")

    monkeypatch.setattr("netllama.models.bundled.ensure", start)
    with pytest.raises(StageError, match="no network, no model"):
        ask("", [request("embedded", slot) for slot in range(9)])
    assert len(starts) == 1


def test_the_embedded_teacher_has_no_key_to_be_wrong_and_begins_with_all_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    served = []

    @contextlib.contextmanager
    def serve(model: Path, log: Path) -> Iterator[str]:
        served.append(model)
        yield server.url
        served.append(Path("stopped"))

    monkeypatch.setattr("netllama.models.bundled.ensure", lambda cache: Path("weights"))
    monkeypatch.setattr("netllama.teacher.connection.serve_model", serve)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with OpenAIServer(always(Answer("text", delay=1.0))) as server:
        responses = ask("", [request("embedded", slot) for slot in range(3)])
    assert served == [Path("weights"), Path("stopped")]
    assert server.most_at_once == 3
    assert {asked.headers["authorization"] for asked in server.requests} == {"Bearer embedded"}
    assert {response.model for response in responses} == {"small"}


def test_an_answer_is_stored_when_it_is_reported() -> None:
    async def run(url: str, store: ResponseStore) -> list[int]:
        lines = []
        async with Teacher(url, store, 2) as teacher:
            teacher.on_answer = lambda: lines.append(len(store.live.read_text().splitlines()))
            await teacher.ask_all([request(url, slot) for slot in range(3)])
            assert (teacher.asked, teacher.replayed) == (3, 0)
        return lines

    with OpenAIServer(always(Answer("text"))) as server:
        assert asyncio.run(run(server.url, ResponseStore(LIVE))) == [1, 2, 3]
