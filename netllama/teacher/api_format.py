"""A `Request` as the JSON body to post to an OpenAI-compatible API: Responses, Chat Completions or Completions.

Live calls (client.py) and the Batch API use the same functions: a request has the same body, and its answer is stored
as the same row (api_answer.py), whichever way it went.
"""

from dataclasses import dataclass
from typing import Any

from netllama.teacher.store import EMBEDDED, Request

PATHS = {"chat": "/chat/completions", "completions": "/completions", "responses": "/responses"}
MAX_TOKENS, MAX_COMPLETION_TOKENS, MAX_OUTPUT_TOKENS = "max_tokens", "max_completion_tokens", "max_output_tokens"
"""The names of the limit on an answer: of all APIs; of the chat API for newer models; of the responses API."""
LIMIT_NAMES = (MAX_TOKENS, MAX_COMPLETION_TOKENS, MAX_OUTPUT_TOKENS)
OPTIONAL = (
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "stop",
    "seed",
    "store",
    "reasoning_effort",
    "reasoning",
    "prompt_cache_key",
    "prompt_cache_options",
)
"""What may be left out where a server refuses it: the answer is still an answer to the request. A refused service_tier
ends the run instead, because without it the answer would cost twice as much."""


@dataclass(frozen=True)
class Dialect:
    """What a server has refused for a model in this run, and therefore is not sent again."""

    omitted: frozenset[str] = frozenset()
    """Names of `OPTIONAL`, and `MAX_TOKENS` where `MAX_COMPLETION_TOKENS` takes its place."""

    def refuse(self, name: str) -> "Dialect":
        return Dialect(self.omitted | {name})

    def choose_limit_name(self, api: str) -> str:
        if api == "responses":
            return MAX_OUTPUT_TOKENS
        return MAX_COMPLETION_TOKENS if api == "chat" and MAX_TOKENS in self.omitted else MAX_TOKENS

    def can_omit(self, name: str, api: str) -> bool:
        """Whether a request, sent with `name` in this dialect, can do without it."""
        return name not in self.omitted and (name in OPTIONAL or (name == MAX_TOKENS and api == "chat"))


PLAIN = Dialect()


def build_body(request: Request, dialect: Dialect = PLAIN) -> dict[str, Any]:
    """The body to post to `PATHS[request.api]`.

    What is None, 0 or empty is not sent, nor what the server has refused. The answer is not stored by the provider.
    """
    cached = bool(request.cache_key)
    body: dict[str, Any] = {"model": request.model, dialect.choose_limit_name(request.api): request.max_tokens}
    if request.api == "completions":
        body["prompt"] = request.prompt
    else:
        marks = cached and "prompt_cache_options" not in dialect.omitted
        body["input" if request.api == "responses" else "messages"] = _format_messages(request, marks)
    optional: dict[str, Any] = {"temperature": request.temperature, "top_p": request.top_p}
    for name in ("frequency_penalty", "presence_penalty", "stop", "service_tier"):
        optional[name] = getattr(request, name) or None
    if cached:
        # Only the marked beginning is worth its place in the cache: what follows it is never sent again.
        optional |= {"prompt_cache_key": request.cache_key, "prompt_cache_options": {"mode": "explicit"}}
    if request.api == "responses":
        optional["store"] = False
        optional["reasoning"] = {"effort": request.reasoning_effort} if request.reasoning_effort else None
    else:
        optional["reasoning_effort"] = request.reasoning_effort
    if request.teacher == EMBEDDED:
        # Our own server samples each row from its own seed. Other servers treat a seed as best effort.
        optional["seed"] = int(request.key[:8], 16)
    body |= {k: value for k, value in optional.items() if value is not None and k not in dialect.omitted}
    if request.json_schema:
        schema = {"name": "tasks", "strict": True, "schema": request.json_schema}
        if request.api == "responses":
            body["text"] = {"format": {"type": "json_schema"} | schema}
        else:
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _format_messages(request: Request, marks: bool) -> list[dict[str, Any]]:
    """The messages; `marks`: the end of the first one is marked as the end of what many requests have in common."""
    messages: list[dict[str, Any]] = [dict(message) for message in request.messages or []]
    if marks and messages:
        kind = "input_text" if request.api == "responses" else "text"
        part = {"type": kind, "text": messages[0]["content"], "prompt_cache_breakpoint": {"mode": "explicit"}}
        messages[0]["content"] = [part]
    return messages
