"""What servers answer, read as a text, a reason and a bill: every shape of an answer, every error inside a 200."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.teacher.api_answer import ErrorInAnswer, NotAnAnswer, normalise_finish_reason, parse_answer
from netllama.teacher.store import Request
from tests.support.teacher_requests import request

CHAT = request("http://127.0.0.1/v1", api="chat")
RESPONSES = CHAT.model_copy(update={"api": "responses"})
FLEX = RESPONSES.model_copy(update={"service_tier": "flex"})


def chat(content: Any, finish_reason: Any = "stop", usage: Any = None, **message: Any) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish_reason}
    return {"choices": [choice], "usage": usage}


def items(*output: Any, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"object": "response", "status": status, "output": list(output), **more}


def message(*parts: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": list(parts)}


def said(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": []}


REASONING = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "first I plan"}], "content": []}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (chat("179."), "179."),
        (chat(None), ""),
        (chat([{"type": "text", "text": "17"}, {"type": "text", "text": "9."}]), "179."),
        (chat([{"type": "thinking", "thinking": "a port"}, {"type": "text", "text": "179."}]), "179."),
        (chat([{"type": "reasoning", "text": "a port"}, {"type": "text", "text": "179."}]), "179."),
        (chat([{"type": "redacted_thinking", "data": "x"}, {"text": "179."}]), "179."),
        (chat(["179", "."]), "179."),
        (chat([]), ""),
        (chat("179.", reasoning_content="a port", reasoning="a port"), "179."),
        (chat(None, reasoning_content="still thinking"), ""),
    ],
)
def test_thinking_is_no_part_of_a_chat_answer(body: dict[str, Any], text: str) -> None:
    assert parse_answer(CHAT, body).text == text


@pytest.mark.parametrize(
    ("body", "text", "finish_reason"),
    [
        (items(message(said("179."))), "179.", "stop"),
        (items(REASONING, message(said("17"), said("9."))), "179.", "stop"),
        (items(REASONING, message(said("17")), message(said("9."))), "179.", "stop"),
        (items(REASONING, status="incomplete", incomplete_details={"reason": "max_output_tokens"}), "", "length"),
        (items(message(said("17")), status="incomplete", incomplete_details=None), "17", "length"),
        (items(status="incomplete", incomplete_details={"reason": "content_filter"}), "", "content_filter"),
        (items(message(said("17")), status="incomplete", incomplete_details={"reason": "steered"}), "17", "length"),
        (items(message(said("17")), status="cancelled"), "17", "length"),
        (items(message({"type": "refusal", "refusal": "I can't."})), "I can't.", "refusal"),
        (items(REASONING), "", "stop"),
    ],
)
def test_the_items_of_the_responses_api(body: dict[str, Any], text: str, finish_reason: str) -> None:
    row = parse_answer(RESPONSES, body)
    assert (row.text, row.finish_reason) == (text, finish_reason)


@pytest.mark.parametrize("reason", ["stop", "STOP", "eos", "end_turn", "stop_sequence", "completed", None, ""])
def test_reasons_that_mean_a_whole_answer(reason: Any) -> None:
    assert parse_answer(CHAT, chat("179.", reason)).finish_reason == "stop"


@pytest.mark.parametrize(
    "reason", ["length", "max_tokens", "model_length", "MAX_TOKENS", "abort", "error", "tool_calls", "unheard of", 7]
)
def test_every_other_reason_means_a_cut(reason: Any) -> None:
    assert parse_answer(CHAT, chat("It flaps, and then", reason)).finish_reason == "length"


@pytest.mark.parametrize("reason", ["content_filter", "content-filter", "SAFETY", "RECITATION", "guardrail_intervened"])
def test_reasons_by_which_the_provider_withholds(reason: str) -> None:
    assert normalise_finish_reason(reason) == "content_filter"


@pytest.mark.parametrize(
    ("body", "words", "status"),
    [
        ({"error": {"message": "Provider returned error", "code": 429}}, "Provider returned error", 429),
        ({"error": {"message": "try later", "code": "rate_limit_exceeded"}}, "try later", 429),
        ({"error": "context too small for n_keep"}, "context too small for n_keep", None),
        ({"error": {"message": "no", "code": 502}, "choices": [{"message": {"content": ""}}]}, "no", 502),
        ({"choices": []}, "an answer without any choice", None),
        ({"choices": None, "usage": {}}, "an answer without any choice", None),
        (
            {"choices": [{"error": {"message": "overloaded", "code": 503}, "message": {"content": ""}}]},
            "overloaded",
            503,
        ),
        (
            {"object": "error", "message": "the model is gone", "code": 404, "type": "NotFoundError"},
            "model is gone",
            404,
        ),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, "busy", 529),
        ({"detail": "Not authenticated"}, "Not authenticated", None),
        ({"detail": [{"loc": ["body", "top_p"], "msg": "too high"}]}, "body.top_p: too high", None),
        ({"message": "no such route"}, "no such route", None),
    ],
)
def test_an_error_inside_a_200_is_an_error_in_the_servers_words(
    body: dict[str, Any], words: str, status: int | None
) -> None:
    with pytest.raises(ErrorInAnswer) as caught:
        parse_answer(CHAT, body)
    assert words in caught.value.error.message
    assert caught.value.error.status == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (items(status="failed", error={"code": "server_error", "message": "it broke"}), 500),
        (items(status="failed", error={"code": "rate_limit_exceeded", "message": "slow down"}), 429),
        (items(status="in_progress"), 500),
        (items(status="queued"), 500),
    ],
)
def test_a_response_that_failed_or_is_not_done_is_an_error(body: dict[str, Any], status: int) -> None:
    with pytest.raises(ErrorInAnswer) as caught:
        parse_answer(RESPONSES, body)
    assert caught.value.error.status == status


@pytest.mark.parametrize("body", ["<html>", None, [], 7, {}, {"choices": [{}]}, {"choices": "text"}, {"hello": "you"}])
def test_what_is_neither_an_answer_nor_an_error_is_told_apart(body: Any) -> None:
    with pytest.raises(NotAnAnswer):
        parse_answer(CHAT, body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "error", "output", "type", "text", "usage", "status", "finish_reason",
                 "detail", "code", "refusal", "incomplete_details", "prompt_tokens", "prompt_tokens_details"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)  # fmt: skip


@given(json_values, st.sampled_from([CHAT, RESPONSES, request("http://127.0.0.1/v1")]))
def test_any_json_is_an_answer_or_one_of_the_two_errors(body: Any, asked: Request) -> None:
    with contextlib.suppress(ErrorInAnswer, NotAnAnswer):
        parse_answer(asked, body)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, (0, 0, 0, 0, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}, (9, 5, 0, 0, 0)),
        (
            {
                "prompt_tokens": 1100,
                "completion_tokens": 50,
                "prompt_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 60},
                "completion_tokens_details": {"reasoning_tokens": 40},
            },
            (1100, 50, 40, 1024, 60),
        ),
        (
            {
                "input_tokens": 1100,
                "output_tokens": 50,
                "total_tokens": 1150,
                "input_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 60},
                "output_tokens_details": {"reasoning_tokens": 40},
            },
            (1100, 50, 40, 1024, 60),
        ),
        # DeepSeek's names; thinking in the total alone, as Google's and xAI's servers count it
        ({"prompt_tokens": 1100, "completion_tokens": 5, "prompt_cache_hit_tokens": 1024}, (1100, 5, 0, 1024, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 214}, (9, 205, 0, 0, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": None}, (9, 5, 0, 0, 0)),
    ],
)
def test_tokens_are_counted_by_every_name_that_servers_give_them(usage: Any, tokens: tuple[int, ...]) -> None:
    row = parse_answer(CHAT, chat("179.", usage=usage))
    counted = (row.prompt_tokens, row.completion_tokens, row.reasoning_tokens, row.cached_tokens)
    assert (*counted, row.cache_write_tokens) == tokens


def test_the_tier_that_served_an_answer_is_kept_where_one_was_asked_for() -> None:
    body = items(message(said("179.")), service_tier="flex")
    assert parse_answer(FLEX, body).service_tier == "flex"
    assert parse_answer(FLEX, body | {"service_tier": "default"}).service_tier == ""
    assert parse_answer(RESPONSES, body).service_tier == ""
