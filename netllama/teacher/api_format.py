"""The JSON of an OpenAI-compatible API: a `Request` as the body to post, and the server's answer as a `Response`.

Live calls (client.py) and the Batch API use the same functions: a request has the same body, and its answer is stored
as the same row, whichever way it went.
"""

from typing import Any

from netllama.teacher.store import EMBEDDED, Request, Response

PATHS = {"chat": "/chat/completions", "completions": "/completions"}
MAX_TOKENS, MAX_COMPLETION_TOKENS = "max_tokens", "max_completion_tokens"
"""The two names of the limit on an answer. Newer chat models accept only the second one."""
CONTENT_CODES = {"content_filter", "content_policy_violation", "invalid_prompt"}
"""Error codes of a 400 that concerns this one prompt. It becomes the answer of its slot and does not end the run."""


class NotAnAnswer(ValueError):
    """The body is not an answer of the OpenAI API."""


def build_body(request: Request, limit_name: str = MAX_TOKENS) -> dict[str, Any]:
    """The body to post to `PATHS[request.api]`. Leaves out penalties and stop unless set: some servers reject them."""
    body: dict[str, Any] = {
        "model": request.model,
        "temperature": request.temperature,
        "top_p": request.top_p,
        limit_name: request.max_tokens,
    }
    if request.api == "chat":
        body["messages"] = request.messages
    else:
        body["prompt"] = request.prompt
    if request.json_schema:
        schema = {"name": "tasks", "strict": True, "schema": request.json_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    for name in ("frequency_penalty", "presence_penalty", "stop"):
        if value := getattr(request, name):
            body[name] = value
    if request.teacher == EMBEDDED:
        # Our own server samples each row from its own seed. Other servers treat a seed as best effort.
        body["seed"] = int(request.key[:8], 16)
    return body


def parse_answer(request: Request, body: Any, batch: bool = False) -> Response:
    """The server's answer as a row of the store; raises `NotAnAnswer` if `body` is anything else."""
    try:
        choice, usage = body["choices"][0], body.get("usage") or {}
        finish_reason = choice.get("finish_reason") or "stop"
        if request.api == "chat":
            text, refusal = choice["message"].get("content"), choice["message"].get("refusal")
            if refusal:
                text, finish_reason = refusal, "refusal"
        else:
            text = choice["text"]
        return Response(
            key=request.key,
            draw=request.draw,
            model=str(body.get("model") or request.model),
            # A lone surrogate, such as half an emoji, cannot be stored as UTF-8: it becomes a question mark.
            text=(text or "").encode("utf-8", "replace").decode(),
            finish_reason=finish_reason,
            max_tokens=request.max_tokens,
            prompt_tokens=usage.get("prompt_tokens") or 0,
            completion_tokens=usage.get("completion_tokens") or 0,
            batch=batch,
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        raise NotAnAnswer from None


def make_filtered_answer(request: Request, batch: bool = False) -> Response:
    """The row for a prompt that the provider's content filter rejected (`CONTENT_CODES`). It costs nothing."""
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
