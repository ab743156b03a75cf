"""What a server's refusal means: whose words are shown, which parameter is left out, which prompt is withheld."""

from typing import Any

import pytest

from netllama.core.errors import StageError
from netllama.teacher import retries
from netllama.teacher.error_bodies import LONGEST_QUOTE, ServerError, read_server_error
from netllama.teacher.error_verdicts import find_refused_parameter
from netllama.teacher.store import ResponseStore
from tests.support.openai_server import Answer, Asked, Body, OpenAIServer, Page, Refusal, Reply
from tests.support.teacher_requests import LIVE, always, ask, at_first, request

SENT = {
    "model": "m",
    "max_tokens": 9,
    "temperature": 0.7,
    "top_p": 0.9,
    "reasoning_effort": "low",
    "prompt_cache_key": "k",
    "prompt_cache_options": {},
    "service_tier": "flex",
    "messages": [],
}


@pytest.fixture(autouse=True)
def _in_a_folder_without_keys(workdir: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.005)


KEY = "sk-this-key-must-never-be-seen"


@pytest.mark.parametrize("cut", [10 * LONGEST_QUOTE, LONGEST_QUOTE])
@pytest.mark.parametrize("shape", ["{}", "<html><title>{}</title>"])
def test_of_a_key_that_the_end_of_a_quote_cuts_nothing_is_shown(
    cut: int, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    before = shape.index("{")
    for place in range(cut - before - len(KEY), cut - before + 1):
        said = read_server_error({"error": {"message": shape.format(" " * place + KEY)}}).message
        assert "sk-" not in said


def test_a_code_and_a_parameter_that_are_the_key_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    error = read_server_error({"error": {"message": KEY, "code": KEY, "type": f"bad {KEY}", "param": KEY}})
    assert KEY not in repr(error)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no room", "code": "x"}}, "no room"),
        ({"message": "no room", "code": "x"}, "no room"),
        ({"error": "no room"}, "no room"),
        ("no room", "no room"),
        ({"detail": "no room"}, "no room"),
        ({"detail": [{"loc": ["body", "stop"], "msg": "no room"}]}, "body.stop: no room"),
        ({"errors": ["no room", "no time"]}, "no room; no time"),
        ([{"error": {"code": 400, "message": "no room", "status": "INVALID_ARGUMENT"}}], "no room"),
        ({"error": {"message": "failed", "metadata": {"raw": "no room"}}}, "failed (no room)"),
        ("<html><head><title>502 Bad Gateway</title></head>", "a web page, '502 Bad Gateway'"),
        ("<!doctype html><p>", "a web page"),
        (b"no room", "no room"),
        ("two\nlines", "two lines"),
        ({}, ""),
        (None, ""),
        ({"error": {"message": None}}, ""),
    ],
)
def test_a_servers_words_are_found_in_every_shape(body: Any, words: str) -> None:
    assert read_server_error(body).message == words


@pytest.mark.parametrize(
    ("words", "param", "code", "refused"),
    [
        (
            "Unsupported parameter: 'max_tokens' ... Use 'max_completion_tokens' instead.",
            "max_tokens",
            "u",
            "max_tokens",
        ),
        ("max_tokens: deprecated for this deployment", "", "", "max_tokens"),
        ("Please set max_completion_tokens, max_tokens was dropped", "", "", "max_tokens"),
        ("Unrecognized request argument supplied: max_tokens", "", "", "max_tokens"),
        ("max_tokens is too large: 9000. This model supports at most 4096 tokens", "max_tokens", "", ""),
        ("max_tokens must be less than 4096", "", "", ""),
        ("'temperature' does not support 0.7 with this model.", "temperature", "unsupported_value", "temperature"),
        ("Extra inputs are not permitted", "temperature", "", "temperature"),
        ('Invalid JSON payload received. Unknown name "top_p": Cannot find field.', "", "", "top_p"),
        ("`temperature` and `top_p` cannot both be specified for this model", "", "", "top_p"),
        ("temperature: range: 0..1", "temperature", "", ""),
        ("Unrecognized request argument supplied: reasoning_effort", "", "", "reasoning_effort"),
        ("'reasoning_effort' does not support 'max' with this model", "reasoning_effort", "unsupported_value", ""),
        ("Unknown parameter: 'prompt_cache_key'", "prompt_cache_key", "unknown_parameter", "prompt_cache_key"),
        ("Unknown parameter", "messages[0].content[0].prompt_cache_breakpoint", "x", "prompt_cache_options"),
        ("this model's maximum context length is 4096 tokens", "messages", "context_length_exceeded", ""),
        ("unknown model", "model", "", "model"),
        ("the temperatures of the engine are not supported", "", "", ""),
    ],
)
def test_a_refused_parameter_is_found_by_its_name_in_any_wording(
    words: str, param: str, code: str, refused: str
) -> None:
    assert find_refused_parameter(ServerError(words, code=code, param=param), SENT) == refused


def refuse(*names: str) -> Any:
    """A server that refuses these parameters, one after another, and answers requests without them."""

    def reply(asked: Asked) -> Reply:
        for name in names:
            if name in asked.body:
                return Refusal(400, "unsupported_parameter", f"'{name}' is not supported with this model.", param=name)
        return Answer(asked.prompt)

    return reply


def test_what_a_model_refuses_is_left_out_once_for_the_whole_run_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    with OpenAIServer(refuse("temperature", "top_p", "max_tokens")) as server:
        requests = [request(server.url, slot, "chat") for slot in range(6)]
        responses = ask(server.url, requests)
    assert [row.text for row in responses] == [f"task {slot}" for slot in range(6)]
    assert len(server.requests) == 9, "three refusals, then six answers"
    assert server.requests[-1].body.keys() == {"model", "messages", "max_completion_tokens"}
    said = capsys.readouterr().out
    assert said.count("temperature is left out from now on") == 1
    assert said.count("max_tokens is called max_completion_tokens from now on") == 1


def test_a_refused_tier_ends_the_run_because_the_answers_would_cost_twice_as_much() -> None:
    with OpenAIServer(refuse("service_tier")) as server:
        with pytest.raises(StageError, match="'service_tier' is not supported"):
            ask(server.url, [request(server.url, api="chat", service_tier="flex")])
        assert len(server.requests) == 1


def test_a_refused_effort_ends_the_run_with_the_efforts_that_there_are() -> None:
    words = "Unsupported value: 'reasoning_effort' does not support 'max'. Supported values are: 'low', 'high'."
    refusal = Refusal(400, "unsupported_value", words, param="reasoning_effort")
    with OpenAIServer(always(refusal)) as server, pytest.raises(StageError, match="'low', 'high'"):
        ask(server.url, [request(server.url, api="chat", reasoning_effort="max")])


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(403, message="flagged"),
        Refusal(400, "oops", "we don't answer this"),
        Refusal(422, message="flagged"),
        Body({"error": {"message": "flagged", "code": 403}}),
        Body({"detail": "your prompt was rejected"}, status=400),
        Body([{"error": {"code": 400, "message": "flagged", "status": "INVALID_ARGUMENT"}}], status=400),
    ],
)
@pytest.mark.parametrize("withheld", [0, 2])
def test_a_refusal_of_one_prompt_withholds_its_slot_alone(
    refusal: Reply, withheld: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even the first one: the others show that it is not the key, nor the model."""
    with OpenAIServer(lambda asked: refusal if asked.prompt == f"task {withheld}" else Answer("text")) as server:
        requests = [request(server.url, slot, "chat") for slot in range(5)]
        responses = ask(server.url, requests)
        assert ask(server.url, requests) == responses, "it is stored, and not asked again"
    reasons = ["content_filter" if slot == withheld else "stop" for slot in range(5)]
    assert [row.finish_reason for row in responses] == reasons
    assert len(server.requests) == 5
    assert "this prompt stays without an answer" in capsys.readouterr().out


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("first", [0, 4])
def test_a_refusal_of_every_prompt_ends_the_run_after_three(first: int, concurrency: int) -> None:
    """The key was revoked, or the account closed: nothing of it is stored as an answer."""

    def revoke(asked: Asked) -> Reply:
        return Refusal(403, message="account closed") if asked.number >= first else Answer("text")

    with OpenAIServer(revoke) as server:
        requests = [request(server.url, slot, "chat") for slot in range(40)]
        with pytest.raises(StageError, match="account closed"):
            ask(server.url, requests, max_concurrency=concurrency)
    assert len(server.requests) < first + 3 + concurrency
    store = ResponseStore(LIVE)
    assert sum(store.find(asked) is not None for asked in requests) == first


def test_a_lone_prompt_that_is_refused_ends_the_run() -> None:
    with OpenAIServer(always(Refusal(400, message="no room"))) as server:
        with pytest.raises(StageError, match="no room"):
            ask(server.url, [request(server.url, api="chat")])
        assert not LIVE.exists()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Body({"error": {"message": "Provider returned error", "code": 429}}), "Provider returned error"),
        (Body({"error": "context too small for n_keep"}), "context too small for n_keep"),
        (Body({"choices": []}), "an answer without any choice"),
        (Body({"choices": [{"message": {"content": ""}}], "error": {"message": "no", "code": 502}}), "502 .no"),
        (Body({"detail": "warming up"}), "warming up"),
        (Body({"object": "error", "message": "engine is dead", "code": 500}), "engine is dead"),
        (Page("bad gateway", "text/plain", 502), "bad gateway"),
        (Refusal(498, message="no capacity"), "no capacity"),
        (Refusal(425, message="too early"), "too early"),
    ],
)
def test_an_error_inside_an_answer_is_waited_for_and_shown_where_it_lasts(fault: Reply, words: str) -> None:
    with OpenAIServer(at_first(fault)) as server:
        assert ask(server.url, [request(server.url, api="chat")])[0].text == "text"
        assert len(server.requests) == 2
    LIVE.unlink()
    with OpenAIServer(always(fault)) as server:
        with pytest.raises(StageError, match=words) as error:
            ask(server.url, [request(server.url, api="chat")], max_retries=2)
        assert len(server.requests) == 3
        assert not LIVE.exists(), "it is never stored as an answer"
    assert "/v1;" not in str(error.value)
    assert "ends in /v1" not in str(error.value)


@pytest.mark.parametrize(
    ("fault", "words", "hint"),
    [
        (Body({"error": {"message": "bad token", "code": 401}}), "bad token", "OPENAI_API_KEY"),
        (Body({"error": {"message": "gone", "code": "model_not_found"}}), "gone", "has no model small"),
        (Body({"error": {"message": "pay", "code": "insufficient_quota"}}), "pay", "quota is exhausted"),
        (Refusal(404, message="try pulling it first"), "try pulling it first", "has no model small"),
        (Refusal(401, message="token expired"), "token expired", "OPENAI_API_KEY"),
        (Refusal(400, message="API key not valid. Please pass a valid API key."), "not valid", "OPENAI_API_KEY"),
        (Refusal(402, message="needs 3 credits"), "needs 3 credits", "paid first"),
        (Page("<html><title>Welcome to nginx!</title>"), "Welcome to nginx!", "ends in /v1"),
        (Body({"hello": "you"}), "hello", "ends in /v1"),
        (Page("<title>404 Not Found</title>", status=404), "404 Not Found", "base_url"),
    ],
)
def test_a_lasting_refusal_shows_the_servers_words_beside_our_hint(fault: Reply, words: str, hint: str) -> None:
    with OpenAIServer(always(fault)) as server, pytest.raises(StageError, match=words) as error:
        ask(server.url, [request(server.url, api="chat")])
    assert hint in str(error.value)
    assert len(server.requests) == 1
