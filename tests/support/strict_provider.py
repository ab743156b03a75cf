"""A provider of reasoning models on a loopback port: refuses what OpenAI refuses for its current models, and counts.

`StrictProvider(write)` is a reply for `OpenAIServer`. Error bodies are as the provider's public reports show them. It
keeps a prompt cache by exact beginning: an explicit breakpoint writes what is before it and reads it from then on.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.openai_server import Answer, Asked, Body, Reply, read_content

KNOWN = {
    "/v1/responses": {
        "model", "input", "max_output_tokens", "store", "temperature", "top_p", "reasoning", "text", "service_tier",
        "prompt_cache_key", "prompt_cache_options",
    },
    "/v1/chat/completions": {
        "model", "messages", "max_completion_tokens", "temperature", "top_p", "reasoning_effort", "response_format",
        "service_tier", "prompt_cache_key", "prompt_cache_options", "seed", "stop", "frequency_penalty",
        "presence_penalty",
    },
}  # fmt: skip
EFFORTS = ("none", "low", "medium", "high", "xhigh", "max")
THINKING = {"none": 0, "low": 40, "medium": 120, "high": 400, "xhigh": 900, "max": 2000}
"""Tokens that the model thinks, by effort."""
SHORTEST_CACHED = 1024


def refuse(message: str, code: str, param: str) -> Body:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return Body({"error": error}, status=400)


@dataclass
class StrictProvider:
    write: Callable[[Asked], str]
    """The text of an answer."""
    cached: set[str] = field(default_factory=set)

    def __call__(self, asked: Asked) -> Reply:
        return self._find_refusal(asked) or self._answer(asked)

    def _find_refusal(self, asked: Asked) -> Body | None:
        body, effort = asked.body, self._get_effort(asked.body)
        if asked.path == "/v1/chat/completions" and "max_tokens" in body:
            words = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
            return refuse(f"Unsupported parameter: {words}", "unsupported_parameter", "max_tokens")
        for name in body.keys() - KNOWN[asked.path]:
            return refuse(f"Unknown parameter: '{name}'.", "unknown_parameter", name)
        if effort not in EFFORTS:
            words = f"'reasoning_effort' does not support '{effort}' with this model. Supported values are: {EFFORTS}."
            return refuse(f"Unsupported value: {words}", "unsupported_value", "reasoning_effort")
        if effort != "none":
            for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty", "stop"):
                if name in body:
                    words = f"'{name}' is not supported with this model."
                    return refuse(f"Unsupported parameter: {words}", "unsupported_parameter", name)
        return None

    def _answer(self, asked: Asked) -> Answer:
        body, text, thinking = asked.body, self.write(asked), THINKING[self._get_effort(asked.body)]
        limit = body.get("max_output_tokens") or body["max_completion_tokens"]
        whole = thinking + len(text) // 4
        cut = whole > limit
        shown = text[: max(limit - thinking, 0) * 4] if cut else text
        prompt, cached, written = len(asked.prompt) // 4, 0, 0
        for message in body.get("input") or body["messages"]:
            marked = not isinstance(message["content"], str) and "prompt_cache_breakpoint" in message["content"][0]
            opening = read_content(message)
            if marked and len(opening) // 4 >= SHORTEST_CACHED:
                cached = len(opening) // 4 if opening in self.cached else 0
                written = len(opening) // 4 - cached
                self.cached.add(opening)
        return Answer(
            shown,
            "length" if cut else "stop",
            prompt_tokens=prompt,
            completion_tokens=min(whole, limit),
            reasoning_tokens=min(thinking, limit),
            cached_tokens=cached,
            cache_write_tokens=written,
            service_tier=body.get("service_tier", "default"),
        )

    def _get_effort(self, body: dict[str, Any]) -> str:
        return str((body.get("reasoning") or {}).get("effort") or body.get("reasoning_effort") or "medium")
