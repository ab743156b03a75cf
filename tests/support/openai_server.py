"""An OpenAI-compatible server on a loopback port, scripted request by request.

`with OpenAIServer(reply) as server`: `reply` turns each request into an `Answer`, a `Refusal`, a `Body`, a `Page` or a
fault (`DROPPED`, `HANG`, `TRUNCATED`, `CUT_OFF`); `server.requests` holds what was asked, headers included, and
`server.billed` the answers that it would charge for, whether they arrived or not.
"""

import json
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


@dataclass(frozen=True)
class Asked:
    """One request as it came in."""

    number: int
    """0 for the first request of the server, in the order of arrival."""
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        """What the teacher reads: the prompt, or all messages one after another."""
        if "prompt" in self.body:
            return str(self.body["prompt"])
        return "\n".join(map(read_content, self.body.get("messages") or self.body["input"]))


def read_content(message: dict[str, Any]) -> str:
    """The text of a message, which is a string or a list of parts."""
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


@dataclass(frozen=True)
class Answer:
    text: str
    finish_reason: str = "stop"
    prompt_tokens: int = 11
    completion_tokens: int = 7
    delay: float = 0.0
    """Seconds until it is sent."""
    trickle: float = 0.0
    """Seconds between each eight bytes of it."""
    refusal: str | None = None
    """Chat: the model's own refusal, in the place of a text."""
    reasoning_tokens: int = 0
    """Of the completion tokens."""
    cached_tokens: int = 0
    """Of the prompt tokens, as the next."""
    cache_write_tokens: int = 0
    service_tier: str = "default"


@dataclass(frozen=True)
class Refusal:
    status: int
    code: str = "refused"
    message: str = "refused by the test"
    retry_after: float | None = 0.001
    """The Retry-After header in seconds; None: no such header."""
    param: str | None = None


@dataclass(frozen=True)
class Body:
    """A JSON body as it is, in any form that a server may give it."""

    content: Any
    status: int = 200


@dataclass(frozen=True)
class Page:
    """Something that is no answer of the API, such as a web page."""

    content: str
    content_type: str = "text/html"
    status: int = 200


WORDS = [f"{first}{second}" for first in "bcdfghklmnprstv" for second in ("ane", "ilo", "orm", "uft", "ex", "yst")]


def new_tasks(asked: Asked, count: int = 3) -> str:
    """Tasks in the numbered format that go on from the prompt: a pure function of it, no two alike.

    The last of them is malformed, for a rejected row in every run.
    """
    draw = random.Random(asked.prompt)
    number = asked.prompt.count("###\n") + 1
    blocks = []
    for place in range(number, number + count):
        words = draw.sample(WORDS, 20)
        fields = (f"Instruction: {' '.join(words[:8])}?", "Input:\n<noinput>", f"Output:\n{' '.join(words)}.")
        if place == number + count - 1:
            fields = fields[:1]
        blocks.append("\n".join(f"{place}. {text}" for text in fields))
    text = "\n###\n".join(blocks)
    # A completion goes on behind the prompt's own "N. Instruction:".
    return text.removeprefix(f"{number}. Instruction:") if "prompt" in asked.body else f"###\n{text}"


def filled_in(schema: dict[str, Any], draw: random.Random) -> Any:
    """Something of a JSON schema, as a server with strict schemas answers: three items in each list."""
    match schema:
        case {"enum": [value, *_]}:
            return value
        case {"type": "object"}:
            return {name: filled_in(inner, draw) for name, inner in schema["properties"].items()}
        case {"type": "array"}:
            return [filled_in(schema["items"], draw) for _ in range(3)]
        case {"type": "integer" | "number"}:
            return draw.randrange(100)
    return " ".join(draw.sample(WORDS, 8))


def strict_answer(asked: Asked) -> str:
    """The text of an answer that keeps to the request's own schema: a pure function of the request."""
    form = asked.body["text"]["format"] if "text" in asked.body else asked.body["response_format"]["json_schema"]
    schema = form["schema"]
    return json.dumps(filled_in(schema, random.Random(asked.prompt)))


DROPPED = "dropped"
"""The connection is closed with no answer."""
HANG = "hang"
"""No answer until the client leaves."""
TRUNCATED = "truncated"
"""JSON without its end, in a response that is whole by its headers."""
CUT_OFF = "cut off"
"""The connection is closed in the middle of the body."""
Reply = Answer | Refusal | Body | Page | str


def make_response_object(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """An answer of the responses API: a reasoning item first, as reasoning models give it."""
    part: dict[str, Any] = {"type": "output_text", "text": answer.text, "annotations": []}
    if answer.refusal:
        part = {"type": "refusal", "refusal": answer.refusal}
    message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}
    cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(answer.finish_reason)
    output = [{"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "a plan"}]}]
    return {
        "id": "test",
        "object": "response",
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": cut} if cut else None,
        "model": body["model"],
        "service_tier": answer.service_tier,
        "output": [*output, message] if answer.text or answer.refusal else output,
        "usage": {
            "input_tokens": answer.prompt_tokens,
            "input_tokens_details": {
                "cached_tokens": answer.cached_tokens,
                "cache_write_tokens": answer.cache_write_tokens,
            },
            "output_tokens": answer.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
            "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        },
    }


@dataclass
class OpenAIServer:
    reply: Callable[[Asked], Reply]
    requests: list[Asked] = field(default_factory=list)
    billed: list[tuple[int, int]] = field(default_factory=list)
    """Prompt and completion tokens of each answer that was made."""
    models: list[dict[str, Any]] | None = None
    """What `GET /models` lists; None: the server has no such path."""
    lookups: list[str] = field(default_factory=list)
    """Paths of the GET requests."""
    most_at_once: int = 0
    """The largest number of requests that were being answered at one time."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.script = self

    def __enter__(self) -> "OpenAIServer":
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def prompts(self) -> list[str]:
        return [asked.prompt for asked in self.requests]

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        with self._lock:
            asked = Asked(len(self.requests), path, headers, body)
            self.requests.append(asked)
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
        reply = self.reply(asked)
        if isinstance(reply, Answer):
            time.sleep(reply.delay)
        made = Answer("") if reply in (TRUNCATED, CUT_OFF) else reply
        if isinstance(made, Answer):
            with self._lock:
                self.billed.append((made.prompt_tokens, made.completion_tokens))
        return reply

    def answered(self) -> None:
        with self._lock:
            self._running -= 1


class _Http(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True
    script: OpenAIServer

    def handle_error(self, *args: object) -> None:
        """Clients that hang up in the middle are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client to acknowledge its headers
    server: _Http

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.script.answer(self.path, headers, body)
        # Counted as answered before the bytes leave: the client may send its next request as soon as it has them.
        self.server.script.answered()
        if isinstance(reply, str):
            self._fault(body, reply)
        elif isinstance(reply, Refusal):
            error = {"message": reply.message, "code": reply.code, "type": reply.code, "param": reply.param}
            headers = {} if reply.retry_after is None else {"Retry-After": str(reply.retry_after)}
            self._send(reply.status, json.dumps({"error": error}), "application/json", headers)
        elif isinstance(reply, Page):
            self._send(reply.status, reply.content, reply.content_type)
        elif isinstance(reply, Body):
            self._send(reply.status, json.dumps(reply.content), "application/json")
        else:
            content = json.dumps(self._completion(body, reply))
            self._send(200, content, "application/json", trickle=reply.trickle)

    def do_GET(self) -> None:
        script = self.server.script
        script.lookups.append(self.path)
        known = {model["id"]: model for model in script.models or []}
        name = unquote(self.path.removeprefix("/v1/models").removeprefix("/"))
        found = known.get(name) if name else {"object": "list", "data": script.models}
        if script.models is None or not found:
            found = None
        error = {"error": {"message": f"The model '{name}' does not exist", "code": "model_not_found"}}
        self._send(200 if found else 404, json.dumps(found or error), "application/json")

    def _fault(self, body: dict[str, Any], fault: str) -> None:
        content = json.dumps(self._completion(body, Answer("lost on the way")))
        self.close_connection = True
        if fault == HANG:
            self.connection.recv(1)  # returns when the client has closed
            return
        if fault == TRUNCATED:
            return self._send(200, content[: len(content) // 2], "application/json")
        if fault == CUT_OFF:
            self._send(200, content, "application/json", stop_after=len(content) // 2)
        self.connection.shutdown(socket.SHUT_RDWR)

    def _completion(self, body: dict[str, Any], answer: Answer) -> dict[str, Any]:
        if self.path.endswith("/responses"):
            return make_response_object(body, answer)
        chat = self.path.endswith("/chat/completions")
        message = {"role": "assistant", "content": None if answer.refusal else answer.text, "refusal": answer.refusal}
        content = {"message": message} if chat else {"text": answer.text}
        return {
            "id": "test",
            "object": "chat.completion" if chat else "text_completion",
            "created": 0,
            "model": body["model"],
            "service_tier": answer.service_tier,
            "choices": [{"index": 0, "finish_reason": answer.finish_reason, "logprobs": None, **content}],
            "usage": {
                "prompt_tokens": answer.prompt_tokens,
                "completion_tokens": answer.completion_tokens,
                "total_tokens": answer.prompt_tokens + answer.completion_tokens,
                "prompt_tokens_details": {
                    "cached_tokens": answer.cached_tokens,
                    "cache_write_tokens": answer.cache_write_tokens,
                },
                "completion_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
            },
        }

    def _send(
        self,
        status: int,
        text: str,
        content_type: str,
        headers: dict[str, str] | None = None,
        trickle: float = 0.0,
        stop_after: int | None = None,
    ) -> None:
        content = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": len(content), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        step = 8 if trickle else max(len(content), 1)
        for start in range(0, len(content), step):
            self.wfile.write(content[start : start + step][:stop_after])
            time.sleep(trickle)

    def log_message(self, *args: object) -> None:
        """Silent."""
