"""The client: stored answers first, one clear line for each refusal, never the key."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from openai_server import DROPPED, Answer, Asked, OpenAIServer, Page, Refusal, Reply

from stages.core.errors import StageError
from stages.teacher.client import Teacher
from stages.teacher.store import Request, Response, ResponseStore

KEY = "sk-this-key-must-never-be-seen"


@pytest.fixture(autouse=True)
def _in_a_folder_without_keys(workdir: Path) -> None:
    """No .env, no OPENAI_API_KEY."""


def request(teacher: str, slot: int = 0, api: str = "completions", max_tokens: int = 64) -> Request:
    prompt = f"task {slot}"
    return Request(
        teacher=teacher,
        model="small",
        api=api,
        prompt=prompt if api == "completions" else None,
        messages=[{"role": "user", "content": prompt}] if api == "chat" else None,
        temperature=0.7,
        top_p=0.95,
        max_tokens=max_tokens,
        draw=f"family/0/{slot}",
    )


def ask(
    url: str, requests: list[Request], store: ResponseStore | None = None, max_concurrency: int = 3
) -> list[Response]:
    async def run() -> list[Response]:
        kept = store if store is not None else ResponseStore(Path("responses.jsonl"))
        async with Teacher(url, kept, max_concurrency) as teacher:
            return await teacher.ask_all(requests)

    return asyncio.run(run())


def always(reply: Reply) -> Callable[[Asked], Reply]:
    return lambda asked: reply


@pytest.mark.parametrize(("api", "path"), [("completions", "/v1/completions"), ("chat", "/v1/chat/completions")])
def test_an_answer_carries_text_usage_and_finish_reason(api: str, path: str) -> None:
    with OpenAIServer(always(Answer("BGP is a path vector protocol.", "length", 5, 64))) as server:
        asked = request(server.url, api=api)
        [response] = ask(server.url, [asked])
    assert response == Response(
        key=asked.key,
        draw="family/0/0",
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
    asked, store = request(url), ResponseStore(Path("responses.jsonl"))
    stored = Response(
        key=asked.key, draw=asked.draw, text="stored", finish_reason="stop", max_tokens=64, prompt_tokens=1,
        completion_tokens=1,
    )  # fmt: skip
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
    assert KEY not in Path("responses.jsonl").read_text()


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
        (Refusal(401, "invalid_api_key", f"Incorrect API key provided: {KEY}"), "OPENAI_API_KEY was refused"),
        (Refusal(403, "forbidden", f"{KEY} may not"), "may not use small"),
        (Refusal(404, "model_not_found"), "no model small there"),
        (Refusal(429, "insufficient_quota", "You exceeded your current quota"), "quota is used up"),
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
    assert error.value.__suppress_context__, "a traceback would show the request"
    assert KEY not in str(error.value) + "".join(capfd.readouterr())


@pytest.mark.parametrize("fault", [Refusal(500), Refusal(503), Refusal(429, "rate_limit_exceeded"), DROPPED])
def test_a_passing_fault_is_retried(fault: Reply) -> None:
    with OpenAIServer(lambda asked: fault if asked.number == 0 else Answer("text")) as server:
        assert ask(server.url, [request(server.url)])[0].text == "text"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("fault", "says"),
    [(Refusal(500, message="out of memory"), r"answered 500 \(out of memory\)"), (Refusal(429), "still rate-limited")],
)
def test_a_lasting_fault_ends_in_one_line_after_the_retries(fault: Refusal, says: str) -> None:
    with OpenAIServer(always(fault)) as server, pytest.raises(StageError, match=says) as error:
        ask(server.url, [request(server.url)])
    assert len(server.requests) == 7
    assert "stored" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unreachable_server_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.001)
    with OpenAIServer(always(Answer("text"))) as server:
        url = server.url
    with pytest.raises(StageError, match="can't be reached") as error:
        ask(url, [request(url)])
    assert url in str(error.value)


@pytest.mark.parametrize(
    "page",
    [Page("<html>welcome</html>"), Page("{}", "application/json"), Page("<html>", "application/json")],
)
def test_a_server_that_is_no_openai_api_is_one_line(page: Page) -> None:
    with OpenAIServer(always(page)) as server, pytest.raises(StageError, match="base_url"):
        ask(server.url, [request(server.url)])


def test_half_an_emoji_is_stored_as_a_question_mark() -> None:
    """json.loads gives a lone surrogate for an escape that a token limit cut in two; UTF-8 has no bytes for it."""
    with OpenAIServer(always(Answer("cut \ud83d", "length"))) as server:
        [response] = ask(server.url, [request(server.url)])
        assert response.text == "cut ?"
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
        return Refusal(403) if asked.prompt == "task 0" else Answer(asked.prompt, delay=0.3)

    with OpenAIServer(refuse_one_answer_the_other_late) as server:
        requests = [request(server.url, slot) for slot in range(4)]
        with pytest.raises(StageError, match="403"):
            ask(server.url, requests, max_concurrency=2)
    assert sorted(server.prompts) == ["task 0", "task 1"]
    store = ResponseStore(Path("responses.jsonl"))
    assert [bool(store.find(asked)) for asked in requests] == [False, True, False, False]


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

    monkeypatch.setattr("stages.weights.bundled.ensure", start)
    with pytest.raises(StageError, match="no network, no model"):
        ask("", [request("embedded", slot) for slot in range(9)])
    assert len(starts) == 1


def test_an_answer_is_stored_when_it_is_reported() -> None:
    async def run(url: str, store: ResponseStore) -> list[int]:
        lines = []
        async with Teacher(url, store, 2) as teacher:
            teacher.on_answer = lambda: lines.append(len(store.live.read_text().splitlines()))
            await teacher.ask_all([request(url, slot) for slot in range(3)])
            assert (teacher.asked, teacher.replayed) == (3, 0)
        return lines

    with OpenAIServer(always(Answer("text"))) as server:
        assert asyncio.run(run(server.url, ResponseStore(Path("responses.jsonl")))) == [1, 2, 3]
