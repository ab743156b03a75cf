"""A `Request` as the body that an OpenAI-compatible server takes, and its answer as a `Response`.

Shared by the calls one at a time (client.py) and the Batch API (batch_api_teacher.py): the same request has the same
body, and the same answer is stored as the same row, whichever way it went.
"""

from typing import Any

from netllama.teacher.store import EMBEDDED, Request, Response

PATHS = {"chat": "/chat/completions", "completions": "/completions"}
CONTENT_CODES = {"content_filter", "content_policy_violation", "invalid_prompt"}
"""Error codes of a 400 that is about this one prompt: an outcome of the slot, not the end of the run."""


class NotAnAnswer(ValueError):
    """The body is no answer of the OpenAI API."""


def body_of(request: Request) -> dict[str, Any]:
    """What is posted to `PATHS[request.api]`. Penalties and stop only where they are set: not all servers know them."""
    body: dict[str, Any] = {
        "model": request.model,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
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
        body["seed"] = int(request.key[:8], 16)  # ours samples each row from its own seed; elsewhere it is best effort
    return body


def response_of(request: Request, body: Any, batch: bool = False) -> Response:
    """The answer as a row of the store; `NotAnAnswer` when `body` is something else."""
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
            text=(text or "").encode("utf-8", "replace").decode(),  # half an emoji (a lone surrogate) can't be stored
            finish_reason=finish_reason,
            max_tokens=request.max_tokens,
            prompt_tokens=usage.get("prompt_tokens") or 0,
            completion_tokens=usage.get("completion_tokens") or 0,
            batch=batch,
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        raise NotAnAnswer from None


def withheld(request: Request, batch: bool = False) -> Response:
    """The row for a prompt that the provider's content filter refused to pass on (`CONTENT_CODES`): unpaid."""
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
