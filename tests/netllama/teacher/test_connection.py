"""Where the key goes and where it does not, and how much of a body is read."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from netllama.core.errors import StageError
from netllama.teacher import connection
from netllama.teacher.batch_api_files import read_results
from netllama.teacher.connection import find_api_key, is_on_loopback
from netllama.teacher.store import Response
from tests.support.openai_server import Answer, Asked, Body, OpenAIServer, Reply
from tests.support.teacher_requests import LIVE, ask, request

KEY = "sk-this-key-must-never-be-seen"


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_key(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.mark.parametrize(
    "reply",
    [
        Answer(f"Your key is {KEY}, isn't it? {KEY}"),
        Answer("", refusal=f"I won't take {KEY}."),
        Body({"model": f"m-{KEY}", "choices": [{"message": {"content": "text"}}], "service_tier": KEY}),
        Body({"choices": [{"message": {"content": [{"text": KEY[:9]}, {"text": KEY[9:]}]}}]}),
    ],
)
def test_an_answer_that_echoes_the_key_is_stored_without_it(reply: Reply) -> None:
    with OpenAIServer(lambda asked: reply) as server:
        asked = request(server.url, api="chat", service_tier="flex")
        [answer] = ask(server.url, [asked])
        assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
        assert KEY not in LIVE.read_text(encoding="utf-8")
        assert KEY not in str(answer)
        assert "[key]" in LIVE.read_text(encoding="utf-8")
        assert ask(server.url, [asked]) == [answer], "what is replayed is what was used"


def test_a_batch_that_echoes_the_key_is_read_without_it() -> None:
    body = f'{{"choices": [{{"text": "{KEY}"}}]}}'
    row = f'{{"custom_id": "k", "response": {{"status_code": 200, "body": {body}}}}}'
    answer = read_results(row.encode(), "file", {"k": request("https://a/v1")}, "a").outcomes["k"]
    assert isinstance(answer, Response)
    assert answer.text == "[key]"


def test_a_placeholder_is_no_key_and_stays_in_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with OpenAIServer(lambda asked: Answer("none of them")) as server:
        assert ask(server.url, [request(server.url)])[0].text == "none of them"


@pytest.mark.parametrize(
    "url", ["http://10.0.0.5:8000/v1", "HTTP://teacher.lan/v1", "http://localhost.evil.example/v1"]
)
def test_the_key_is_not_sent_in_plain_text_over_a_network(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StageError, match="in plain text over the network; use https") as error:
        ask(url, [request(url)])
    assert KEY not in str(error.value)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    assert find_api_key(url) == "none"
    monkeypatch.delenv("OPENAI_API_KEY")
    assert find_api_key(url) == "none"


@pytest.mark.parametrize(
    ("url", "is_ours"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.2:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://127.0.0.1@evil.example/v1", False),
        ("http://127.evil.example/v1", False),
        ("http://[::2]/v1", False),
    ],
)
def test_loopback_is_told_by_the_host_alone(url: str, is_ours: bool) -> None:
    assert is_on_loopback(url) == is_ours


def test_a_redirect_to_another_place_does_not_take_the_key_along() -> None:
    with OpenAIServer(lambda asked: Answer("text")) as other:

        class Redirect(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(307)
                self.send_header("Location", f"{other.url}/completions")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *args: object) -> None:
                pass

        with serve(Redirect) as url:
            ask(url, [request(url)])
        assert all(KEY not in str(asked.headers) for asked in other.requests)


class serve:
    """`with serve(Handler) as url`: a server on loopback."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def endless(status: int, chunks: Iterator[bytes], encoding: str = "") -> type[BaseHTTPRequestHandler]:
    class Endless(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if encoding:
                self.send_header("Content-Encoding", encoding)
            self.end_headers()
            try:
                for chunk in chunks:
                    self.wfile.write(chunk)
            except OSError:
                return

        def log_message(self, *args: object) -> None:
            pass

    return Endless


def repeat(chunk: bytes) -> Iterator[bytes]:
    while True:
        yield chunk


@pytest.mark.parametrize("kind", ["endless", "endless error", "bomb"])
def test_a_body_without_an_end_is_one_line_long_before_the_timeout(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LONGEST_ANSWER", 2**20)
    chunks = repeat(b" " * 2**16)
    if kind == "bomb":  # 64 kB that unpack to 64 MB
        chunks = iter([gzip.compress(b" " * 2**26, mtime=0)])
    handler = endless(500 if kind == "endless error" else 200, chunks, "gzip" if kind == "bomb" else "")
    with serve(handler) as url, pytest.raises(StageError, match="sends more than any answer is long") as error:
        ask(url, [request(url)], max_retries=0, request_timeout=60.0)
    assert "\n" not in str(error.value)


def test_a_long_answer_is_still_an_answer() -> None:
    def reply(asked: Asked) -> Reply:
        return Answer("word " * 200_000)

    with OpenAIServer(reply) as server:
        assert len(ask(server.url, [request(server.url)])[0].text) == 1_000_000
