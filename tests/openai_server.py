"""An OpenAI-compatible server on a loopback port, scripted request by request.

`with OpenAIServer(reply) as server`: `reply` turns each request into an `Answer`, a `Refusal` or `DROPPED`
(the connection is closed with no answer); `server.requests` holds what was asked, headers included.
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
        return "\n".join(message["content"] for message in self.body["messages"])


@dataclass(frozen=True)
class Answer:
    text: str
    finish_reason: str = "stop"
    prompt_tokens: int = 11
    completion_tokens: int = 7
    delay: float = 0.0
    """Seconds until it is sent."""


@dataclass(frozen=True)
class Refusal:
    status: int
    code: str = "refused"
    message: str = "refused by the test"


@dataclass(frozen=True)
class Page:
    """Something that is no answer of the API, such as a web page."""

    content: str
    content_type: str = "text/html"


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


DROPPED = "dropped"
Reply = Answer | Refusal | Page | str


@dataclass
class OpenAIServer:
    reply: Callable[[Asked], Reply]
    requests: list[Asked] = field(default_factory=list)
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
        return reply

    def answered(self) -> None:
        with self._lock:
            self._running -= 1


class _Http(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True
    script: OpenAIServer

    def handle_error(self, *args: object) -> None:
        """Clients that hang up in the middle are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.script.answer(self.path, headers, body)
        # Counted as answered before the bytes leave: the client may send its next request as soon as it has them.
        self.server.script.answered()
        if isinstance(reply, str):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif isinstance(reply, Refusal):
            error = {"message": reply.message, "code": reply.code, "type": reply.code, "param": None}
            self._send(reply.status, json.dumps({"error": error}), "application/json")
        elif isinstance(reply, Page):
            self._send(200, reply.content, reply.content_type)
        else:
            self._send(200, json.dumps(self._completion(body, reply)), "application/json")

    def _completion(self, body: dict[str, Any], answer: Answer) -> dict[str, Any]:
        chat = self.path.endswith("/chat/completions")
        content = {"message": {"role": "assistant", "content": answer.text}} if chat else {"text": answer.text}
        return {
            "id": "test",
            "object": "chat.completion" if chat else "text_completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": answer.finish_reason, "logprobs": None, **content}],
            "usage": {
                "prompt_tokens": answer.prompt_tokens,
                "completion_tokens": answer.completion_tokens,
                "total_tokens": answer.prompt_tokens + answer.completion_tokens,
            },
        }

    def _send(self, status: int, text: str, content_type: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        if status >= 400:
            self.send_header("Retry-After-Ms", "1")  # retries without the SDK's half a second
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Silent."""
