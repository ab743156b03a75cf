"""A Batch API on a loopback port, in memory: files, batches, and a scripted end for each batch.

`with BatchServer(reply) as server`: the requests of a batch are put to an `OpenAIServer(reply)`, so that their
results are, to the byte, what a live call gets. `server.batches` are the batches that were made, with the keys
that each holds; `server.calls` the HTTP calls, such as "POST /batches" or "GET /batches/ID".
"""

import email
import itertools
import json
import re
import socket
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.openai_server import Asked, OpenAIServer, Refusal, Reply

LOST = "lost"
"""A call that did not reach the server."""
UNANSWERED = "unanswered"
"""A call that was carried out, and the connection closed instead of an answer."""
Interference = Callable[[str], Refusal | str | bytes | None]


@dataclass(frozen=True)
class End:
    """How a batch ends: its status, and how many of its requests have been answered by then (None: all)."""

    status: str = "completed"
    answered: int | None = None
    error: dict[str, Any] | None = None
    """Of a batch that failed."""


@dataclass
class Made:
    """A batch that was made."""

    about: dict[str, Any]
    rows: list[dict[str, Any]]
    """Of its input file."""
    end: End
    polls: int = 0

    @property
    def keys(self) -> list[str]:
        return [row["custom_id"] for row in self.rows]


@dataclass
class BatchServer:
    reply: Callable[[Asked], Reply]
    end: Callable[[int], End] = lambda number: End()
    """By the number of the batch, from 0."""
    polls: int = 2
    """Looks at a batch until it has ended."""
    interfere: Interference = lambda call: None
    """What comes between a call and its handling: nothing, a `Refusal`, `LOST`, `UNANSWERED`, or a content."""
    models: dict[str, Any] = field(default_factory=dict)
    """What `GET /models/ID` says, by ID; these calls are not among `calls`."""
    page: int = 100
    """Batches of one page of a listing, at most."""
    calls: list[str] = field(default_factory=list)
    keys_sent: set[str] = field(default_factory=set)
    """API keys, from the Authorization headers."""
    batches: list[Made] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.live = OpenAIServer(self.reply)
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.script = self

    def __enter__(self) -> "BatchServer":
        self.live.__enter__()
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self.live.__exit__()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def held(self) -> Counter[str]:
        """How many batches each key is in."""
        return Counter(key for made in self.batches for key in made.keys)

    def add_file(self, content: bytes) -> str:
        name = f"file-{next(self._numbers)}"
        self.files[name] = content
        return name

    def handle(self, method: str, path: str, query: str, body: bytes, headers: Any) -> tuple[int, Any]:
        """Status and answer: bytes for a file's content, else JSON."""
        match method, path.strip("/").split("/"):
            case "POST", ["files"]:
                kind = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
                form: Any = email.message_from_bytes(kind + body).get_payload()
                parts = {
                    part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in form
                }
                assert parts["purpose"] == b"batch"
                return 200, {"id": self.add_file(parts["file"]), "object": "file"}
            case "POST", ["batches"]:
                return 200, self._make(json.loads(body))
            case "GET", ["batches"]:
                newest = [made.about for made in reversed(self.batches)]
                after = re.search(r"after=([\w.-]+)", query)
                ids = [about["id"] for about in newest]
                start = ids.index(after[1]) + 1 if after else 0
                page = newest[start : start + self.page]
                return 200, {"object": "list", "data": page, "has_more": start + len(page) < len(newest)}
            case "GET", ["batches", name]:
                [made] = [made for made in self.batches if made.about["id"] == name]
                return 200, self._look(made)
            case "GET", ["files", name, "content"] if name in self.files:
                return 200, self.files[name]
        return 404, {"error": {"message": "not here", "code": "not_found"}}

    def _make(self, asked: dict[str, Any]) -> dict[str, Any]:
        rows = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        assert asked["completion_window"] == "24h"
        assert len({row["custom_id"] for row in rows}) == len(rows), "a custom_id is unique in its batch"
        assert {row["url"] for row in rows} == {asked["endpoint"]}
        about = asked | {
            "id": f"batch_{len(self.batches)}",
            "object": "batch",
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "errors": None,
            "request_counts": {"total": len(rows), "completed": 0, "failed": 0},
        }
        self.batches.append(Made(about, rows, self.end(len(self.batches))))
        return about

    def _look(self, made: Made) -> dict[str, Any]:
        made.polls += 1
        if made.about["status"] in ("validating", "in_progress"):
            if made.polls >= self.polls:
                self.finish(made)
            else:
                counts = made.about["request_counts"] | {"completed": len(made.rows) * made.polls // self.polls}
                made.about |= {"status": "in_progress", "request_counts": counts}
        return made.about

    def finish(self, made: Made) -> None:
        """Its end, now."""
        made.about["status"] = made.end.status
        if made.end.status == "failed":
            made.about["errors"] = {"object": "list", "data": [made.end.error]}
            return
        output: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for place, row in enumerate(made.rows):
            line: dict[str, Any] = {"id": f"req_{place}", "custom_id": row["custom_id"], "response": None}
            if made.end.answered is not None and place >= made.end.answered:
                code = f"batch_{made.end.status}"
                errors.append(line | {"error": {"code": code, "message": "not done before the end"}})
                continue
            status, body = self._ask(row)
            line |= {"response": {"status_code": status, "request_id": "r", "body": body}, "error": None}
            (output if status < 400 else errors).append(line)
        output.reverse()  # results come in any order
        for name, lines in (("output_file_id", output), ("error_file_id", errors)):
            if lines:
                made.about[name] = self.add_file("".join(json.dumps(line) + "\n" for line in lines).encode())
        made.about["request_counts"] = {"total": len(made.rows), "completed": len(output), "failed": len(errors)}

    def _ask(self, row: dict[str, Any]) -> tuple[int, Any]:
        url = self.live.url + row["url"].removeprefix("/v1")
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(row["body"]).encode(), headers, method=row["method"])
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def serve(self, handler: "_Handler", method: str, body: bytes) -> tuple[int, Any] | None:
        """None: no answer."""
        path, _, query = handler.path.removeprefix("/v1").partition("?")
        if path.startswith("/models"):
            found = self.models.get(path.removeprefix("/models/"))
            return (200, found) if found else (404, {"error": {"message": "not here"}})
        with self._lock:
            call = f"{method} {path}"
            self.calls.append(call)
            self.keys_sent.add(handler.headers["Authorization"].removeprefix("Bearer "))
            between = self.interfere(call)
            if between == LOST:
                return None
            if isinstance(between, Refusal):
                return between.status, {"error": {"message": between.message, "code": between.code}}
            if isinstance(between, bytes):
                return 200, between
            answer = self.handle(method, path, query, body, handler.headers)
            return None if between == UNANSWERED else answer


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    script: BatchServer

    def handle_error(self, *args: object) -> None:
        """Clients that are killed in the middle are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # header and body in one segment: two would wait for each other's acknowledgement
    server: _Http

    def do_POST(self) -> None:
        self._serve("POST", self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self) -> None:
        self._serve("GET", b"")

    def _serve(self, method: str, body: bytes) -> None:
        answer = self.server.script.serve(self, method, body)
        if answer is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, value = answer
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if content.startswith(b"{") else "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Silent."""
