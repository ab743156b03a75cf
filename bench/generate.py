"""Goodput of the teacher's client against a server that limits requests or tokens a minute; what a kill costs.

The server (bench/limited_server.py) runs in a process of its own on the loopback. Goodput is what was answered, from
the first request sent to the last answer stored (each one fsynced), as a share of what the limit allows in that time:
the start, when one request is alone, and the end, when the last ones come in, are in it, and so is the half second of
the limit that the client may send at once. The peer asks one request after the other with the openai SDK.

Then a client is killed (SIGKILL) at a random moment and run again: the server tells what it was asked twice.

Run    python -m bench.generate [--check]      (--check: exit code 1 where a target is missed)
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

from bench.hardware import hardware
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
def limited_server(requests_per_minute: int, tokens_per_minute: int) -> Iterator[str]:
    """The base_url of a server in a child process; a limit of 0 is none."""
    command = [sys.executable, "-m", "bench.limited_server", str(requests_per_minute), str(tokens_per_minute)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


def seen(url: str) -> dict[str, Any]:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(url) as answer:
        return dict(json.load(answer))


def requests_to(url: str, count: int) -> list[Request]:
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


async def ask(url: str, store: Path, count: int, limiter: RateLimiter) -> list[Response]:
    async with Teacher(url, ResponseStore(store), CONCURRENCY, limiter=limiter) as teacher:
        return await teacher.ask_all(requests_to(url, count))


@dataclass
class Run:
    """What was answered in how many seconds."""

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


def teacher_run(requests_per_minute: int, tokens_per_minute: int, count: int, folder: Path) -> Run:
    import openai  # noqa: F401  loaded before the clock starts, as it is for the peer

    limiter = RateLimiter(requests_per_minute or None, tokens_per_minute or None)
    with limited_server(requests_per_minute, tokens_per_minute) as url:
        start = time.perf_counter()
        responses = asyncio.run(ask(url, folder / f"{count}.jsonl", count, limiter))
        seconds = time.perf_counter() - start
        refused = seen(url)["refused"]
    assert len(responses) == count
    tokens = sum(response.prompt_tokens + response.completion_tokens for response in responses)
    return Run(count, tokens, seconds, refused)


def one_at_a_time(requests_per_minute: int, tokens_per_minute: int) -> Run:
    """The loop that a script begins with, the SDK's retries included."""
    from openai import DefaultHttpxClient, OpenAI

    run = Run(0, 0, 0.0)
    with limited_server(requests_per_minute, tokens_per_minute) as url:
        client = OpenAI(base_url=url, api_key="none", http_client=DefaultHttpxClient(trust_env=False))
        start = time.perf_counter()
        for request in requests_to(url, 1_000):
            answer = client.completions.create(model="bench", prompt=request.prompt or "", max_tokens=MAX_TOKENS)
            assert answer.usage
            run.answers += 1
            run.tokens += answer.usage.prompt_tokens + answer.usage.completion_tokens
            run.seconds = time.perf_counter() - start
            if run.seconds > PEER_SECONDS:
                break
    return run


def killed_and_run_again(folder: Path, draw: random.Random) -> tuple[float, int, int, int]:
    """Seconds until the kill, rows stored by then, those of them asked again, and all that was asked twice."""
    store = folder / f"killed-{draw.random()}.jsonl"
    with limited_server(0, 0) as url:
        command = [sys.executable, "-m", "bench.generate", "ask", url, str(store), str(KILLED_REQUESTS)]
        client = subprocess.Popen(command)
        while not store.exists():
            time.sleep(0.01)
        moment = draw.uniform(0.2, 1.6)
        time.sleep(moment)
        client.send_signal(signal.SIGKILL)
        assert client.wait() == -signal.SIGKILL, "it ended before the kill: nothing was measured"
        time.sleep(2 * LATENCY)  # what the server had in hand is answered, to nobody
        rows = store.read_bytes().split(b"\n")[:-1]
        stored = {json.loads(row)["draw"].rpartition("/")[2] for row in rows}
        before = seen(url)["answered"]
        subprocess.run(command, check=True)
        after = seen(url)["answered"][len(before) :]
    assert len(store.read_bytes().splitlines()) == KILLED_REQUESTS
    return moment, len(stored), len(stored & set(after)), len(set(before) & set(after))


def main() -> None:
    parser = argparse.ArgumentParser(description="The teacher's client against a limited server.")
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    check = parser.parse_args().check
    draw = random.Random()
    print(f"{hardware()}; latency {LATENCY} s, {CONCURRENCY} requests under way at most\n")
    print("| limit | answers | seconds | 429s | goodput | of the limit | one at a time | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    shares, ratios = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # A mean answer takes 0.65 of MAX_TOKENS.
        answers = round(TOKENS_PER_MINUTE * SECONDS / 60 / (len(PROMPT) / 4 + 0.65 * MAX_TOKENS))
        plans = [(REQUESTS_PER_MINUTE, 0, REQUESTS_PER_MINUTE * SECONDS // 60), (0, TOKENS_PER_MINUTE, answers)]
        for rpm, tpm, count in plans:
            run, peer = teacher_run(rpm, tpm, count, folder), one_at_a_time(rpm, tpm)
            unit = "requests" if rpm else "tokens"
            goodput, theirs = (getattr(each, f"{unit}_per_minute") for each in (run, peer))
            shares.append(goodput / (rpm or tpm))
            ratios.append(goodput / theirs)
            print(
                f"| {rpm or tpm:,} {unit} a minute | {run.answers:,} | {run.seconds:.1f} | {run.refused} "
                f"| {goodput:,.0f} | {shares[-1]:.1%} | {theirs:,.0f} | {ratios[-1]:.1f} |"
            )
        kills = [killed_and_run_again(folder, draw) for _ in range(KILLS)]
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
            asyncio.run(ask(url, Path(store), int(count), RateLimiter()))
        case _:
            main()
