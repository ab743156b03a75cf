"""The embedded teacher: it answers, it says why it can't, and it never outlives the stage."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from netllama.core.errors import StageError
from netllama.teacher.client import Teacher
from netllama.teacher.embedded import serve_model
from netllama.teacher.store import Request, ResponseStore
from tests.support.clones import ROOT

MEMORY = 3e9
"""Bytes that the server of a tiny model may take, whatever the machine has."""

PARENT = """
import sys, time
from pathlib import Path
from netllama.teacher.embedded import serve_model
with serve_model(Path(sys.argv[1]), Path("server.log")) as url:
    print("serving", url, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _importable_by_the_server(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def list_servers() -> list[psutil.Process]:
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE and "netllama.teacher.server_process" in process.cmdline()
    ]


_shared: list[psutil.Process] = []


def servers() -> list[psutil.Process]:
    """Those of the test at hand."""
    return [process for process in list_servers() if process not in _shared]


@pytest.fixture(scope="module")
def shared_url(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for the tests that only ask: each start imports torch, 5 seconds of processor time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("OMP_NUM_THREADS", "1")
        with serve_model(tiny_model_folder, tmp_path_factory.mktemp("shared") / "server.log") as url:
            _shared.extend(list_servers())
            yield url
            _shared.clear()


def test_the_embedded_teacher_answers_and_is_gone_afterwards(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netllama.models.bundled.ensure", lambda cache: tiny_model_folder)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # a proxy that the loopback must not go through
    requests = [
        Request(
            teacher="embedded",
            model="smollm2-135m-instruct",
            api="completions",
            prompt="1. Instruction:",
            temperature=1.0,
            top_p=1.0,
            max_tokens=12,
            draw=f"family/0/{slot}",
        )
        for slot in range(3)
    ]

    async def ask() -> None:
        async with Teacher("", ResponseStore(Path("responses.jsonl")), 3) as teacher:
            responses = await teacher.ask_all(requests)
            [server] = servers()
            assert server.memory_info().rss < MEMORY
            assert [response.key for response in responses] == [request.key for request in requests]
            for response in responses:
                assert 0 < response.completion_tokens <= 12
                assert (response.finish_reason == "length") == (response.completion_tokens == 12)
            assert len({response.text for response in responses}) > 1, "it samples: equal prompts are different draws"
            assert {response.model for response in responses} == {"smollm2-135m-instruct"}, "a name, never a path"
            assert await teacher.ask_all(requests) == responses

    asyncio.run(ask())
    assert servers() == []


def test_a_broken_model_is_one_line_with_the_servers_own_words_and_leaves_no_process(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_model_folder, folder)
    (folder / "config.json").write_text("{")
    with (
        pytest.raises(StageError, match="ended with exit code 1") as error,
        serve_model(folder, tmp_path / "server.log"),
    ):
        pass
    assert "config.json" in str(error.value)
    assert "not a valid JSON file" in str(error.value)
    assert str(tmp_path / "server.log") in str(error.value)
    assert "\n" not in str(error.value)
    assert servers() == []


def test_a_server_that_is_not_ready_in_time_is_one_line_and_leaves_no_process(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    log = tmp_path / "server.log"
    with pytest.raises(StageError, match="not ready after 0 s"), serve_model(tiny_model_folder, log, timeout=0.1):
        pass
    assert servers() == []


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGKILL, "serving "),
        (signal.SIGKILL, "embedded teacher: "),
        (signal.SIGTERM, "embedded teacher: "),
        (signal.SIGINT, "embedded teacher: "),
    ],
)
def test_the_server_vanishes_when_its_parent_is_killed_healthy_or_still_starting(
    number: signal.Signals, said: str, tiny_model_folder: Path
) -> None:
    command = [sys.executable, "-c", PARENT, str(tiny_model_folder)]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # ignored below a shell's background job
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ), preexec_fn=heed) as parent:
        assert parent.stdout
        assert any(line.startswith(said) for line in parent.stdout)
        deadline = time.monotonic() + 20
        while not servers() and time.monotonic() < deadline:
            time.sleep(0.05)
        [server] = servers()
        parent.send_signal(number)
        parent.wait()
        server.wait(timeout=20)
    assert not server.is_running()


def post(url: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_server_speaks_both_apis_and_says_what_it_does_not_have(shared_url: str) -> None:
    url, asking = shared_url, {"model": "tiny", "max_tokens": 4, "temperature": 1.0, "top_p": 1.0, "seed": 3}
    messages = [{"role": "user", "content": "Name the BGP port."}]
    [server] = _shared
    sockets = [each for each in server.net_connections() if each.status == psutil.CONN_LISTEN]
    assert [each.laddr for each in sockets] == [("127.0.0.1", urlsplit(url).port)], "the port is the server's own"
    status, chat = post(f"{url}/chat/completions", asking | {"messages": messages})
    assert (status, chat["model"], chat["choices"][0]["finish_reason"]) == (200, "tiny", "length")
    assert chat["choices"][0]["message"]["role"] == "assistant"
    assert chat["usage"]["completion_tokens"] == 4
    status, completion = post(f"{url}/completions", asking | {"prompt": "Name the BGP port."})
    assert (status, completion["choices"][0]["finish_reason"]) == (200, "length")
    assert completion["choices"][0]["text"]

    status, refused = post(f"{url}/chat/completions", asking | {"messages": messages, "response_format": {}})
    assert (status, refused["error"]["code"]) == (400, "unsupported_parameter")
    status, refused = post(f"{url}/completions", asking | {"prompt": "port " * 2000})
    assert (status, refused["error"]["code"]) == (400, "context_length_exceeded")
    assert "exceed the model's 1024" in refused["error"]["message"]
    status, again = post(f"{url}/completions", asking | {"prompt": "Name the BGP port."})
    assert again["choices"] == completion["choices"], "the same seed, the same answer"


def make_requests(number: int) -> list[Request]:
    """Prompts of many lengths, with answers long enough for the last bits of bf16 to decide some of their tokens."""
    return [
        Request(
            teacher="embedded",
            model="smollm2-135m-instruct",
            api="completions",
            prompt="Name a BGP port and a reason. " * (1 + slot % 7) + f"{slot % 5}. Instruction:",
            temperature=1.0,
            top_p=0.95,
            frequency_penalty=0.4 * (slot % 2),
            max_tokens=48,
            draw=f"family/0/{slot}",
        )
        for slot in range(number)
    ]


def ask_shared(url: str, model: Path, store: Path, concurrency: int, requests: list[Request]) -> dict[str, str]:
    """Key -> text of the answers of a server that has started."""

    async def ask() -> dict[str, str]:
        async with Teacher("", ResponseStore(store), concurrency) as teacher:
            return {answer.key: answer.text for answer in await teacher.ask_all(requests)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("netllama.models.bundled.ensure", lambda cache: model)
        patch.setattr("netllama.teacher.connection.serve_model", lambda *_: contextlib.nullcontext(url))
        return asyncio.run(ask())


@pytest.fixture(scope="module")
def alone(tiny_model_folder: Path, shared_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The answers to `make_requests(32)`, one after another, the last one first."""
    store = tmp_path_factory.mktemp("alone") / "responses.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(store.parent)
        answers = ask_shared(shared_url, tiny_model_folder, store, 1, make_requests(32)[::-1])
    assert len(answers) == len(set(answers.values())) == 32
    return answers


def test_an_answer_is_a_function_of_its_request_alone_whatever_else_is_asked(
    tiny_model_folder: Path, shared_url: str, alone: dict[str, str]
) -> None:
    assert ask_shared(shared_url, tiny_model_folder, Path("crowd.jsonl"), 32, make_requests(32)) == alone


ASKING = """
import asyncio, sys
from pathlib import Path
from netllama.models import bundled
from netllama.teacher.client import Teacher
from netllama.teacher.store import Request, ResponseStore
bundled.ensure = lambda cache: Path(sys.argv[1])

async def ask(concurrency, requests):
    async with Teacher("", ResponseStore(Path(sys.argv[2])), concurrency) as teacher:
        await teacher.ask_all([Request.model_validate_json(line) for line in requests])

asyncio.run(ask(int(sys.argv[3]), Path("requests.jsonl").read_text().splitlines()))
"""


@pytest.mark.slow
def test_kills_change_no_answer(tiny_model_folder: Path, alone: dict[str, str]) -> None:
    Path("requests.jsonl").write_text("\n".join(request.model_dump_json() for request in make_requests(32)))

    def start(store: str, concurrency: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", ASKING, str(tiny_model_folder), store, str(concurrency)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def answers(store: str) -> dict[str, str]:
        lines = Path(store).read_text().splitlines() if Path(store).exists() else []
        return {row["key"]: row["text"] for row in map(json.loads, lines)}

    for kept in (3, 15):
        process = start("killed.jsonl", 8)
        while len(answers("killed.jsonl")) < kept and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        process.wait()
    assert start("killed.jsonl", 32).wait() == 0
    assert answers("killed.jsonl") == alone
