"""Goodput of the teacher's client against a server that limits requests or tokens a minute, and what a kill costs.

The server (bench/limited_server.py) runs in its own process on the loopback. Goodput is the number of answers between
the first request sent and the last answer stored (each one fsynced), as a share of what the limit allows in that time.
It includes the start, when one request is alone in flight, the end, when the last answers arrive, and the half second
of the limit that the client may send at once. The peer sends one request after the other with the openai SDK.

Then a client is killed (SIGKILL) at a random moment and run again; the server reports which requests came twice.

Run    python -m bench.generate [--check]      (--check: exit code 1 if a target is missed)
"""

import argparse
import asyncio
import contextlib
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.hardware import describe_hardware
from bench.limited_server import LATENCY
from netllama.teacher.client import Teacher
from netllama.teacher.rate_limiter import RateLimiter
from netllama.teacher.store import Request, Response, ResponseStore

REQUESTS_PER_MINUTE = 3_000
TOKENS_PER_MINUTE = 600_000
SECONDS = 20
PEER_SECONDS = 6
CONCURRENCY = 64
PROMPT = "Suggest a task about BGP route reflection. " * 18
MAX_TOKENS = 320
KILLS, KILLED_REQUESTS = 3, 400
LEAST_GOODPUT = 0.95


@contextlib.contextmanager
def run_limited_server(requests_per_minute: int, tokens_per_minute: int) -> Iterator[str]:
    """The base_url of a server in a child process; 0 means no limit."""
    command = [sys.executable, "-m", "bench.limited_server", str(requests_per_minute), str(tokens_per_minute)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


def fetch_report(url: str) -> dict[str, Any]:
    """What the server has answered and refused so far."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(url) as answer:
        return dict(json.load(answer))


def make_requests(url: str, count: int) -> list[Request]:
    return [
        Request(
            teacher=url,
            model="bench",
            api="completions",
            prompt=f"{PROMPT} {slot}",
            temperature=0.7,
            top_p=0.95,
            max_tokens=MAX_TOKENS,
            draw=f"bench/0/{slot}",
        )
        for slot in range(count)
    ]


async def ask_teacher(url: str, store: Path, count: int, limiter: RateLimiter) -> list[Response]:
    async with Teacher(url, ResponseStore(store), CONCURRENCY, limiter=limiter) as teacher:
        return await teacher.ask_all(make_requests(url, count))


@dataclass
class Goodput:
    """How much was answered in how many seconds."""

    answers: int
    tokens: int
    seconds: float
    refused: int = 0

    @property
    def requests_per_minute(self) -> float:
        return self.answers / self.seconds * 60

    @property
    def tokens_per_minute(self) -> float:
        return self.tokens / self.seconds * 60


def measure_teacher(requests_per_minute: int, tokens_per_minute: int, count: int, folder: Path) -> Goodput:
    import openai  # noqa: F401  loaded before the clock starts, as it is for the peer

    limiter = RateLimiter(requests_per_minute or None, tokens_per_minute or None)
    with run_limited_server(requests_per_minute, tokens_per_minute) as url:
        start = time.perf_counter()
        responses = asyncio.run(ask_teacher(url, folder / f"{count}.jsonl", count, limiter))
        seconds = time.perf_counter() - start
        refused = fetch_report(url)["refused"]
    assert len(responses) == count
    tokens = sum(response.prompt_tokens + response.completion_tokens for response in responses)
    return Goodput(count, tokens, seconds, refused)


def measure_sequential_client(requests_per_minute: int, tokens_per_minute: int) -> Goodput:
    """The peer: the loop that most scripts begin with, including the SDK's retries."""
    from openai import DefaultHttpxClient, OpenAI

    run = Goodput(0, 0, 0.0)
    with run_limited_server(requests_per_minute, tokens_per_minute) as url:
        client = OpenAI(base_url=url, api_key="none", http_client=DefaultHttpxClient(trust_env=False))
        start = time.perf_counter()
        for request in make_requests(url, 1_000):
            answer = client.completions.create(model="bench", prompt=request.prompt or "", max_tokens=MAX_TOKENS)
            assert answer.usage
            run.answers += 1
            run.tokens += answer.usage.prompt_tokens + answer.usage.completion_tokens
            run.seconds = time.perf_counter() - start
            if run.seconds > PEER_SECONDS:
                break
    return run


def kill_and_rerun(folder: Path, draw: random.Random) -> tuple[float, int, int, int]:
    """Seconds until the kill, rows stored by then, how many of these were asked again, and all that was asked twice."""
    store = folder / f"killed-{draw.random()}.jsonl"
    with run_limited_server(0, 0) as url:
        command = [sys.executable, "-m", "bench.generate", "ask", url, str(store), str(KILLED_REQUESTS)]
        client = subprocess.Popen(command)
        while not store.exists():
            time.sleep(0.01)
        moment = draw.uniform(0.2, 1.6)
        time.sleep(moment)
        client.send_signal(signal.SIGKILL)
        assert client.wait() == -signal.SIGKILL, "the client ended before the kill, so nothing was measured"
        time.sleep(2 * LATENCY)  # until the server has answered what was in flight, to nobody
        rows = store.read_bytes().split(b"\n")[:-1]
        stored = {json.loads(row)["draw"].rpartition("/")[2] for row in rows}
        before = fetch_report(url)["answered"]
        subprocess.run(command, check=True)
        after = fetch_report(url)["answered"][len(before) :]
    assert len(store.read_bytes().splitlines()) == KILLED_REQUESTS
    return moment, len(stored), len(stored & set(after)), len(set(before) & set(after))


def main() -> None:
    parser = argparse.ArgumentParser(description="The teacher's client against a limited server.")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    check = parser.parse_args().check
    draw = random.Random()
    print(f"{describe_hardware()}; latency {LATENCY} s, at most {CONCURRENCY} requests in flight\n")
    print("| limit | answers | seconds | 429s | goodput | of the limit | one at a time | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    shares, ratios = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # A mean answer takes 0.65 of MAX_TOKENS.
        answers = round(TOKENS_PER_MINUTE * SECONDS / 60 / (len(PROMPT) / 4 + 0.65 * MAX_TOKENS))
        plans = [(REQUESTS_PER_MINUTE, 0, REQUESTS_PER_MINUTE * SECONDS // 60), (0, TOKENS_PER_MINUTE, answers)]
        for rpm, tpm, count in plans:
            run, peer = measure_teacher(rpm, tpm, count, folder), measure_sequential_client(rpm, tpm)
            unit = "requests" if rpm else "tokens"
            goodput, theirs = (getattr(each, f"{unit}_per_minute") for each in (run, peer))
            shares.append(goodput / (rpm or tpm))
            ratios.append(goodput / theirs)
            print(
                f"| {rpm or tpm:,} {unit} a minute | {run.answers:,} | {run.seconds:.1f} | {run.refused} "
                f"| {goodput:,.0f} | {shares[-1]:.1%} | {theirs:,.0f} | {ratios[-1]:.1f} |"
            )
        kills = [kill_and_rerun(folder, draw) for _ in range(KILLS)]
    print("\n| killed after, s | answers stored | of them asked again | in flight, asked twice |")
    print("|---|---|---|---|")
    for moment, stored, again, twice in kills:
        print(f"| {moment:.2f} | {stored} | {again} | {twice} |")
    again = sum(kill[2] for kill in kills)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"\ngeneration goodput: {shares[0]:.1%} of the limit of requests, {shares[1]:.1%} of the limit of tokens, "
        f"{ratios[0]:.0f} and {ratios[1]:.0f} times one at a time; {again} stored answers asked again after "
        f"{KILLS} kills; {peak:.0f} MB"
    )
    if check and (min(shares) < LEAST_GOODPUT or again or any(kill[3] > CONCURRENCY for kill in kills)):
        raise SystemExit(1)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["ask", url, store, count]:
            asyncio.run(ask_teacher(url, Path(store), int(count), RateLimiter()))
        case _:
            main()
