"""`python -m stages.generate` as a user runs it: outs, resume after a kill, replay, errors."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clones import ROOT
from openai_server import Answer, Asked, OpenAIServer, Refusal, Reply, new_tasks

from stages.core.files import read_json, read_jsonl

COMMAND = [sys.executable, "-m", "stages.generate"]
OUTS = [f"data/generated/{name}.jsonl" for name in ("instructions", "rejected", "responses")] + [
    "metrics/generate.json"
]
STORE = Path(".scratch/responses/responses.jsonl")
KEY = "sk-this-key-must-never-be-seen"


def generate(*options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *options], capture_output=True, text=True, env=env(**environment), timeout=120)


def start() -> "subprocess.Popen[str]":
    return subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env())


def env(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)} | more


def outs() -> dict[str, bytes]:
    return {path: Path(path).read_bytes() for path in OUTS}


class Gate:
    """Answers with new tasks; from request `number` on, holds them back until it is opened."""

    def __init__(self) -> None:
        self.number = 1_000_000
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, asked: Asked) -> Reply:
        if asked.number >= self.number:
            self.reached.set()
            self.opened.wait(60)
        return Answer(new_tasks(asked))

    def close_after(self, number: int) -> None:
        self.number = number
        self.reached.clear()
        self.opened.clear()

    def open(self) -> None:
        self.number = 1_000_000
        self.opened.set()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def server(gate: Gate, set_params: Callable[..., None]) -> Iterator[OpenAIServer]:
    """A teacher for the params.yaml of the workdir: two families, 8 tasks each, rounds of 3 requests."""
    with OpenAIServer(gate) as server:
        configure(set_params, server.url)
        yield server
        gate.open()


def configure(set_params: Callable[..., None], url: str) -> None:
    set_params(
        **{
            "generate.families": ["bgp_knowledge", "packet_analysis"],
            "generate.base_url": url,
            "generate.api": "chat",
            "generate.model_name": "test",
            "generate.num_instructions_to_generate": 8,
            "generate.requests_per_round": 3,
            "generate.max_concurrency": 3,
        }
    )


def test_a_run_writes_its_outs_and_the_next_one_asks_nothing_and_writes_the_same(server: OpenAIServer) -> None:
    first = generate()
    assert first.returncode == 0, first.stderr
    before, asked = outs(), len(server.requests)
    rows = read_jsonl(OUTS[0])
    assert [sum(row["family"] == name for row in rows) for name in ("bgp_knowledge", "packet_analysis")] == [8, 8]
    assert read_json("metrics/generate.json")["kept"] == 16
    assert all(request.path == "/v1/chat/completions" for request in server.requests)
    assert f"{asked} answers asked, 0 replayed; kept 16" in first.stdout

    second = generate()
    assert (second.returncode, len(server.requests)) == (0, asked)
    assert outs() == before
    assert f"0 answers asked, {asked} replayed" in second.stdout


def test_a_killed_run_goes_on_where_it_was_and_ends_like_an_undisturbed_one(
    server: OpenAIServer, gate: Gate, workdir: Path
) -> None:
    assert generate().returncode == 0
    undisturbed, needed = outs(), len(server.requests)
    shutil.rmtree(".scratch")
    for folder in ("data/generated", "metrics"):
        shutil.rmtree(folder)

    server.requests.clear()
    gate.close_after(5)
    with start() as process:
        assert gate.reached.wait(60)
        process.send_signal(signal.SIGKILL)
    gate.open()
    stored = read_jsonl(STORE)
    assert 0 < len(stored) < needed
    assert not Path("data/generated").exists()
    with open(STORE, "ab") as file:
        file.write(b'{"completion_tokens": 7, "draw": "bgp_kno')  # a write that the kill cut short

    server.requests.clear()
    assert generate().returncode == 0
    assert len(server.requests) == needed - len(stored)
    assert outs() == undisturbed
    keys = [row["key"] for row in read_jsonl(STORE)]
    assert len(keys) == len(set(keys)) == needed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_that_it_can_go_on_and_writes_nothing(
    number: signal.Signals, server: OpenAIServer, gate: Gate
) -> None:
    gate.close_after(4)
    process = start()
    assert gate.reached.wait(60)
    process.send_signal(number)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert stderr.splitlines()[-1].startswith("interrupted: ")
    assert "Traceback" not in stderr
    assert not Path("data/generated").exists()
    assert len(read_jsonl(STORE)) >= 1


def test_promoted_answers_are_replayed_without_scratch_or_server(server: OpenAIServer) -> None:
    assert generate().returncode == 0
    before, asked = outs(), len(server.requests)
    promoted = generate("--promote")
    assert promoted.returncode == 0
    assert "data/recorded/responses.jsonl" in promoted.stdout
    assert Path("data/recorded/responses.jsonl").read_bytes() == before["data/generated/responses.jsonl"]

    shutil.rmtree(".scratch")
    shutil.rmtree("data/generated")
    replayed = generate()
    assert replayed.returncode == 0, replayed.stderr
    assert len(server.requests) == asked
    assert outs() == before
    assert read_jsonl(OUTS[2]), "there was something to replay"


def test_promote_without_a_run_is_one_line(workdir: Path) -> None:
    recorded = {path: path.read_bytes() for path in Path("data/recorded").iterdir()}
    assert_one_line(generate("--promote"), "data/generated/responses.jsonl")
    assert {path: path.read_bytes() for path in Path("data/recorded").iterdir()} == recorded


def test_too_few_tasks_are_said_and_are_no_error(server: OpenAIServer, set_params: Callable[..., None]) -> None:
    set_params(**{"generate.max_requests": 2})
    run = generate()
    assert run.returncode == 0
    assert "bgp_knowledge: 4 short of the number after generate.max_requests=2" in run.stdout


def test_a_refused_key_is_one_line_without_the_key_and_nothing_is_written(set_params: Callable[..., None]) -> None:
    with OpenAIServer(lambda asked: Refusal(401, message=f"Incorrect API key provided: {KEY}")) as server:
        configure(set_params, server.url)
        set_params(**{"generate.max_concurrency": 1})
        run = generate(OPENAI_API_KEY=KEY)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == f"error: {server.url}: the key in OPENAI_API_KEY was refused (401)"
    assert KEY not in run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    assert len(server.requests) == 1
    assert_nothing_written()


def break_json(seeds: Path) -> None:
    lines = seeds.read_text().splitlines()
    lines[1] = lines[1][:-5]
    seeds.write_text("\n".join(lines))


def break_key(seeds: Path) -> None:
    lines = seeds.read_text().splitlines()
    lines[2] = lines[2].replace('"output"', '"outptu"')
    seeds.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("break_seeds", "says"),
    [
        (break_json, "data/seeds/packet_analysis.jsonl:2: not valid JSON"),
        (break_key, "data/seeds/packet_analysis.jsonl:3: output: field required"),
        (
            lambda seeds: seeds.write_text(""),
            "data/seeds/packet_analysis.jsonl: family packet_analysis has no seed task",
        ),
        (Path.unlink, "data/seeds/packet_analysis.jsonl: no such file"),
    ],
)
def test_a_bad_seed_file_is_one_line_before_anything_is_asked(
    break_seeds: Callable[[Path], Any], says: str, server: OpenAIServer
) -> None:
    break_seeds(Path("data/seeds/packet_analysis.jsonl"))
    assert_one_line(generate(), says)
    assert server.requests == []
    assert_nothing_written()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"generate.families": ["bgp_knowledge", "bgp"]}, "data/prompts/bgp.txt: no such file"),
        ({"generate.temprature": 1.0}, "generate.temprature: unknown key, nearest known is generate.temperature"),
        ({"generate.model_name": "gpt", "generate.base_url": ""}, "model_name is 'gpt' and base_url is empty"),
        ({"generate.base_url": "https://api.example.com/v1"}, "OPENAI_API_KEY"),
    ],
)
def test_a_bad_param_is_one_line_before_anything_is_asked(
    change: dict[str, Any], says: str, server: OpenAIServer, set_params: Callable[..., None]
) -> None:
    set_params(**change)
    run = generate()
    assert run.returncode == 1
    assert says in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
    assert server.requests == []
    assert_nothing_written()


def test_an_empty_prompt_file_is_one_line(server: OpenAIServer) -> None:
    Path("data/prompts/bgp_knowledge.txt").write_text(" \n")
    assert_one_line(generate(), "data/prompts/bgp_knowledge.txt: empty")
    assert_nothing_written()


def assert_one_line(run: "subprocess.CompletedProcess[str]", says: str) -> None:
    assert run.returncode == 1
    [line] = run.stderr.splitlines()
    assert line.startswith("error: ")
    assert says in line


def assert_nothing_written() -> None:
    assert not Path("data/generated").exists()
    assert not Path("metrics").exists()
    assert not STORE.exists()
