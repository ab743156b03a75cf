"""A completions API on the loopback that limits requests and tokens a minute, for bench/generate.py.

Each answer takes 0.3 s. A token bucket holds one second of the limit; a request that exceeds it gets a 429 with
Retry-After. A request is charged its prompt and its max_tokens, and gets back what it did not use with its answer.

Run    python -m bench.limited_server REQUESTS_PER_MINUTE TOKENS_PER_MINUTE      (0: no limit; prints its port)
"""

import asyncio
import contextlib
import json
import random
import sys
import time
from typing import Any

LATENCY = 0.3


class Allowance:
    """One second of a limit, refilled evenly. Does not use netllama/teacher/rate_limiter.py, which it tests."""

    def __init__(self, per_minute: int) -> None:
        self.rate = per_minute / 60
        self.level, self.at = self.rate, time.monotonic()

    def compute_wait(self, cost: float) -> float:
        """Seconds until the bucket holds `cost`; 0 if it does now."""
        now = time.monotonic()
        self.level, self.at = min(self.rate, self.level + (now - self.at) * self.rate), now
        return max(0.0, cost - self.level) / self.rate if self.rate else 0.0


class LimitedServer:
    """Just enough HTTP for the completions API, on one thread."""

    def __init__(self, requests_per_minute: int, tokens_per_minute: int) -> None:
        self.requests, self.tokens = Allowance(requests_per_minute), Allowance(tokens_per_minute)
        self.answered: list[str] = []
        self.refused = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                size = head.partition("content-length:")[2].partition("\r\n")[0]
                body = await reader.readexactly(int(size)) if size else b""
                status, content, wait = await self.answer(json.loads(body)) if body else (200, self.report(), 0.0)
                data = json.dumps(content).encode()
                writer.write(
                    f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
                    f"Retry-After: {wait:.3f}\r\n\r\n".encode()
                    + data
                )
                await writer.drain()

    async def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any], float]:
        prompt_tokens = len(body["prompt"]) // 4
        # Real answers end before their limit, at varying lengths.
        completion_tokens = round(body["max_tokens"] * random.Random(body["prompt"]).uniform(0.3, 1.0))
        most = prompt_tokens + body["max_tokens"]
        if wait := max(self.requests.compute_wait(1), self.tokens.compute_wait(most)):
            self.refused += 1
            return 429, {"error": {"message": "slow down", "code": "rate_limit_exceeded", "type": "requests"}}, wait
        self.requests.level -= 1
        self.tokens.level -= most
        await asyncio.sleep(LATENCY)
        self.tokens.level += body["max_tokens"] - completion_tokens
        self.answered.append(body["prompt"].rpartition(" ")[2])
        choice = {"index": 0, "text": "x" * completion_tokens * 4, "finish_reason": "stop", "logprobs": None}
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
        return 200, {"id": "-", "created": 0, "model": body["model"], "choices": [choice], "usage": usage}, 0.0

    def report(self) -> dict[str, Any]:
        """The answered prompts by their number, and how many requests were refused."""
        return {"answered": self.answered, "refused": self.refused}


async def main(requests_per_minute: str, tokens_per_minute: str) -> None:
    script = LimitedServer(int(requests_per_minute), int(tokens_per_minute))
    server = await asyncio.start_server(script.handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
