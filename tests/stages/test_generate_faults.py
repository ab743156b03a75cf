"""`generate` against a server with faults, and killed again and again: the same bytes as an undisturbed run."""

import asyncio
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netllama.core.files import read_jsonl
from netllama.teacher import retries
from netllama.teacher.store import ResponseStore
from stages import generate
from tests.support.clones import ROOT
from tests.support.openai_server import (
    CUT_OFF,
    DROPPED,
    HANG,
    TRUNCATED,
    Answer,
    Asked,
    OpenAIServer,
    Refusal,
    Reply,
    new_tasks,
)

COMMAND = [sys.executable, "-m", "stages.generate"]
OUTS = [generate.INSTRUCTIONS, generate.REJECTED, generate.RESPONSES, generate.METRICS, generate.FUNNEL]
STORE = Path(".scratch/responses/responses.jsonl")
KILLS, SEED = 5, 1
LATE = 0.02
"""Seconds that an answer takes at the most, while kills are about."""


@pytest.fixture
def configured(set_params: Callable[..., None]) -> Callable[[str], None]:
    """`configured(url)`: two families, rounds of 10 requests, no recorded answers."""

    def configure(url: str) -> None:
        for recorded in Path("data/recorded").glob("*.jsonl"):
            recorded.unlink()
        set_params(
            **{
                "families": ["bgp_knowledge", "packet_analysis"],
                "teacher.base_url": url,
                "teacher.api": "chat",
                "teacher.model_name": "test",
                "generate.num_instructions_to_generate": 30,
                "generate.max_requests": 40,
                "generate.requests_per_round": 10,
                "generate.max_exemplar_tokens": 2000,
            }
        )

    return configure


def outs() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in OUTS}


# A server with faults

PASSING = {
    "limit": Refusal(429, retry_after=0.01),
    "limit with no word": Refusal(429, retry_after=None),
    "error": Refusal(500),
    "overloaded": Refusal(503, retry_after=0.01),
    "conflict": Refusal(409, retry_after=None),
    "dropped": DROPPED,
    "truncated": TRUNCATED,
    "cut off": CUT_OFF,
    "hang": HANG,
    "too slow": Answer("never read to its end " * 8, trickle=0.1),
}
"""Faults that go by when the request is sent again."""
TIMEOUT = 0.6


def chance(*names: object) -> float:
    """In 0..1, by a hash of the names."""
    return int.from_bytes(hashlib.sha256(repr(names).encode()).digest()[:8]) / 2**64


def outcome(asked: Asked) -> Answer:
    """What a prompt comes to in the end: tasks, tasks cut by max_tokens, or a refusal; some of them in drops."""
    kind, text = chance("kind", asked.prompt), new_tasks(asked)
    if kind < 0.25:
        return Answer("", refusal="I can't help with that.")
    if kind < 0.5:
        return Answer(text[: len(text) * 2 // 3], "length", completion_tokens=asked.body["max_tokens"])
    return Answer(text, trickle=0.0005 if kind > 0.9 else 0.0)


class Faulty:
    """Outcomes of prompts behind faults, which a hash of (prompt, number of the attempt) decides."""

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.lock = threading.Lock()

    def __call__(self, asked: Asked) -> Reply:
        with self.lock:
            self.attempts[asked.prompt] += 1
            attempt = self.attempts[asked.prompt]
            if attempt > 3 or chance("fault", asked.prompt, attempt) > 0.5:
                return outcome(asked)
            name = list(PASSING)[int(chance("which", asked.prompt, attempt) * len(PASSING))]
            if name in ("hang", "too slow") and self.met[name]:
                name = "error"  # each of them costs the whole timeout
            self.met[name] += 1
            return PASSING[name]


def run_here(store: str, concurrency: int) -> dict[str, bytes]:
    """A run of the stage in this process, and its outs."""
    needs = generate.Needs.load()
    patient = needs.teacher.model_copy(update={"max_concurrency": concurrency, "max_retries": 20})
    needs = needs.model_copy(update={"teacher": patient})
    families = generate.load_families(needs)
    kept = ResponseStore(Path(store))
    asyncio.run(generate.generate(families, needs, kept))
    generate.write_outs(families, generate.make_budget(patient).prices, kept)
    return outs()


def test_passing_faults_leave_no_trace_at_any_concurrency(
    configured: Callable[[str], None], set_params: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.005)
    with OpenAIServer(outcome) as server:
        configured(server.url)
        set_params(**{"teacher.request_timeout": TIMEOUT})
        smooth = run_here("smooth.jsonl", 64)
        needed = sorted(server.prompts)
        for concurrency in (1, 64):
            server.reply = faulty = Faulty()
            server.requests.clear()
            assert run_here(f"{concurrency}.jsonl", concurrency) == smooth
            assert set(server.prompts) == set(needed)
            assert set(faulty.met) == set(PASSING), "every fault was met"
            assert len(server.requests) >= len(set(needed)) + faulty.met.total()
            assert len(read_jsonl(f"{concurrency}.jsonl")) == len(set(needed)), "and every prompt is answered once"
    reasons = json.loads(smooth["generate.json"])["details"][0]["rejected_for"]
    assert {"refusal", "truncated", "malformed"} <= set(reasons)
    assert len(smooth["instructions.jsonl"].splitlines()) == 60


# Kills


class Watched:
    """Answers late with new tasks, and notes each request whose answer was in the store when it came in."""

    def __init__(self) -> None:
        self.again: list[str] = []
        self.asked = threading.Event()
        self.quiet = threading.Event()

    def __call__(self, asked: Asked) -> Reply:
        text = new_tasks(asked)
        if text in stored_texts():
            self.again.append(asked.prompt)
        self.asked.set()
        return Answer(text, delay=LATE * chance("late", asked.prompt, asked.number))


def stored_texts() -> set[str]:
    if not STORE.exists():
        return set()
    whole, _, _ = STORE.read_bytes().rpartition(b"\n")
    return {json.loads(line)["text"] for line in whole.splitlines()}


@pytest.fixture
def watched() -> Iterator[Any]:
    with OpenAIServer(Watched()) as server:
        yield server


def start() -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def end(process: "subprocess.Popen[str]") -> None:
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stdout + stderr


def test_five_kills_at_any_moment_cost_no_answer_that_was_stored_and_change_no_byte(
    watched: OpenAIServer, configured: Callable[[str], None], set_params: Callable[..., None]
) -> None:
    configured(watched.url)
    number = {"generate.num_instructions_to_generate": 200, "generate.max_requests": 400}
    set_params(**number, **{"teacher.max_concurrency": 4})
    end(start())
    undisturbed, needed = outs(), watched.prompts.copy()
    assert len(set(needed)) == len(needed), "a prompt stands for one slot"
    for folder in (".scratch", "data/generated", "metrics"):
        shutil.rmtree(folder)
    watched.requests.clear()

    draw, script, killed, stored_before = random.Random(SEED), watched.reply, 0, set[str]()
    for kill in range(KILLS):
        delay = draw.uniform(0, 10 * LATE)  # long enough for some answers where a disk is slow
        note = f"seed {SEED}, kill {kill}, {delay:.4f} s after the first request"
        script.asked.clear()
        asked_before = len(watched.requests)
        process = start()
        while not script.asked.wait(0.02) and process.poll() is None:
            pass
        while kill == KILLS - 1 and not stored_texts() and process.poll() is None:
            time.sleep(0.02)  # on a busy machine nothing may have been stored before
        time.sleep(delay)
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert script.again == [], note
        stored = stored_texts()
        assert stored >= stored_before, note
        new = watched.requests[asked_before:]
        assert not {new_tasks(asked) for asked in new} & stored_before, note
        # What was under way (at most one a slot) is all that a kill can cost.
        assert len(new) - len(stored - stored_before) <= 4, note
        stored_before = stored
        if draw.random() < 0.5 and STORE.exists():
            line = STORE.read_bytes().splitlines(keepends=True)[-1]
            with open(STORE, "ab") as file:
                file.write(line[: draw.randrange(1, len(line) - 1)])  # a write that the kill cut short

    assert killed == KILLS
    assert 0 < len(stored_before) < len(needed)
    end(start())
    assert script.again == []
    assert outs() == undisturbed
    assert len(watched.requests) - len(needed) <= 4 * KILLS
    assert set(watched.prompts) == set(needed)
    assert len(read_jsonl(STORE)) == len(needed), "no torn line is left, and no answer is there twice"
