"""A server's answer as a `Response`: the text alone, why it ended, and the tokens that were paid for.

A status of 200 does not make an answer: servers put errors into its body, and some answer with a web page. Reasoning
is never a part of the text, whether it comes as parts of a message, as items or as a field of its own.
"""

from typing import Any

from netllama.core.credentials import mask_api_key
from netllama.core.noncharacters import replace_noncharacters
from netllama.teacher.error_bodies import ServerError, read_server_error
from netllama.teacher.store import Request, Response

FINISH_REASONS = ("stop", "length", "content_filter", "refusal")
"""stop: the answer is whole; length: it was cut off; content_filter: the provider withheld it or the rest of it;
refusal: the teacher declined. Servers have more names for them."""
MOST_TOKENS = 10**9
"""A count beyond it, or below 0, is none."""
_WHOLE = {"stop", "eos", "eos_token", "end_turn", "stop_sequence", "end", "complete", "completed", "finished", "done"}
_WITHHELD = {
    "content_filter", "content_filtered", "safety", "recitation", "prohibited_content", "blocklist", "spii", "language",
    "guardrail_intervened", "sensitive", "moderation",
}  # fmt: skip
_TEXT_PARTS = {"text", "output_text", None}


class NotAnAnswer(ValueError):
    """The body is not an answer of the OpenAI API. Its argument is the body."""


class EndlessBody(Exception):
    """The server sends more than any answer is long."""


class ErrorInAnswer(ValueError):
    """The body of a 200 is an error, or holds one."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(error.message)
        self.error = error


def parse_answer(request: Request, body: Any, batch: bool = False) -> Response:
    """The server's answer as a row of the store; raises `ErrorInAnswer` or `NotAnAnswer` if `body` is none."""
    if not isinstance(body, dict):
        raise NotAnAnswer(body)
    _raise_error_of(body, "output" if request.api == "responses" else "choices")
    try:
        text, finish_reason = _read_items(body) if request.api == "responses" else _read_choice(request.api, body)
        tokens = _count_tokens(body.get("usage") or {})
        tier = _make_storable(str(body.get("service_tier") or ""))
        return Response(
            key=request.key,
            draw=request.draw,
            model=_make_storable(str(body.get("model") or request.model)),
            text=_make_storable(text),
            finish_reason=finish_reason,
            max_tokens=request.max_tokens,
            service_tier=tier if request.service_tier and tier not in ("default", "auto", "standard") else "",
            batch=batch,
            **tokens,
        ).bound_usage(request)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise error if isinstance(error, ErrorInAnswer) else NotAnAnswer(body) from None


def make_withheld_answer(request: Request, batch: bool = False) -> Response:
    """The row for a prompt that the provider did not let the model answer. It costs nothing."""
    return Response(
        key=request.key,
        draw=request.draw,
        model=request.model,
        text="",
        finish_reason="content_filter",
        max_tokens=request.max_tokens,
        prompt_tokens=0,
        completion_tokens=0,
        batch=batch,
    )


def normalise_finish_reason(reason: object) -> str:
    """One of `FINISH_REASONS`. A missing reason means a whole answer; one that is not known to, means a cut."""
    name = str(reason or "stop").strip().lower().replace("-", "_").replace(" ", "_")
    if name in _WHOLE:
        return "stop"
    if name in _WITHHELD:
        return "content_filter"
    return "refusal" if name == "refusal" else "length"


def _make_storable(text: str) -> str:
    """Without the API key, which a server may echo. A lone surrogate, such as half an emoji, cannot be stored as UTF-8,
    and a noncharacter could not be trained on: they become question marks."""
    return mask_api_key(replace_noncharacters(text.encode("utf-8", "replace").decode()))


def _raise_error_of(body: dict[str, Any], answers: str) -> None:
    """Raises `ErrorInAnswer` for an error in the place of an answer or beside it, and where the answer is missing."""
    if body.get("error") or body.get("object") == "error" or body.get("type") == "error":
        raise ErrorInAnswer(read_server_error(body))
    if answers not in body and any(body.get(name) for name in ("detail", "message", "msg", "errors")):
        raise ErrorInAnswer(read_server_error(body))
    if answers == "choices" and answers in body and not body["choices"]:
        raise ErrorInAnswer(ServerError("an answer without any choice"))


def _read_choice(api: str, body: dict[str, Any]) -> tuple[str, str]:
    choice = body["choices"][0]
    if choice.get("error"):
        raise ErrorInAnswer(read_server_error(choice))
    finish_reason = normalise_finish_reason(choice.get("finish_reason"))
    if api == "completions":
        return _join_parts(choice["text"])[0], finish_reason
    message = choice["message"]
    text, refusal = _join_parts(message.get("content"))
    refusal = message.get("refusal") or refusal
    return (str(refusal), "refusal") if refusal else (text, finish_reason)


def _read_items(body: dict[str, Any]) -> tuple[str, str]:
    """Text and finish reason of the responses API: items of the type `message` hold the text, `reasoning` does not."""
    parts = [part for item in body["output"] if item.get("type") == "message" for part in item.get("content") or []]
    text, refusal = _join_parts(parts)
    if refusal:
        return refusal, "refusal"
    match body.get("status") or "completed":
        case "completed":
            return text, "stop"
        case "incomplete":
            reason = (body.get("incomplete_details") or {}).get("reason")
            return text, normalise_finish_reason(reason or "max_output_tokens")
        case "cancelled":
            return text, "length"
        case status:
            raise ErrorInAnswer(ServerError(f"an answer with the status {status}", code="server_error"))


def _join_parts(content: Any) -> tuple[str, str]:
    """Text and refusal of a message's content: a string, nothing, or a list of parts, some of which are thinking."""
    if content is None or isinstance(content, str):
        return content or "", ""
    texts, refusals = [], []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif part.get("type") == "refusal":
            refusals.append(part["refusal"])
        elif part.get("type") in _TEXT_PARTS:
            texts.append(part["text"])
    return "".join(texts), "".join(refusals)


def _count_tokens(usage: dict[str, Any]) -> dict[str, int]:
    """The token counts of a `Response`; 0 where the server does not report them."""

    def find(*names: str) -> int:
        for place in (usage, *(usage.get(f"{name}_details") or {} for name in _DETAILED)):
            for name in names:
                if isinstance(place.get(name), int) and 0 <= place[name] <= MOST_TOKENS:
                    return int(place[name])
        return 0

    prompt, completion = find("prompt_tokens", "input_tokens"), find("completion_tokens", "output_tokens")
    return {
        "prompt_tokens": prompt,
        # Some servers count the thinking in the total alone, but all bill it as output.
        "completion_tokens": max(completion, find("total_tokens") - prompt),
        "reasoning_tokens": find("reasoning_tokens"),
        "cached_tokens": find("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens"),
        "cache_write_tokens": find("cache_write_tokens", "cache_creation_input_tokens"),
    }


_DETAILED = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")
