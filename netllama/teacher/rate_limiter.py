"""Requests and tokens a minute, paced smoothly, for all requests of one teacher together.

Two token buckets. A cost is taken out when the bucket holds it, or is full: one that is bigger than the
bucket passes too and leaves a debt, which the next ones wait for. So over any t seconds at most
rate * t + max(burst, the largest cost) is admitted. Providers enforce a minute's limit by the second or
finer (https://platform.openai.com/docs/guides/rate-limits): a burst of a full minute would meet a 429.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

from netllama.teacher.store import Request

BURST_SECONDS = 0.5
"""What a bucket holds, in seconds of its rate. Time that the loop is late (an fsync, a long parse) is caught up
as long as the bucket is not full."""
FEWEST_REQUESTS = 2
"""What the bucket of requests holds at least: with one, every late wake-up would be lost for good."""

_NO_TIME = 1e-6
"""Seconds that are rounding: a clock need not move by less."""


class Bucket:
    """Fills at `per_minute` / 60 a second up to `burst`. No limit: always enough."""

    def __init__(self, per_minute: int | None, burst: float, now: float) -> None:
        self.rate = (per_minute or 0) / 60
        self.burst = burst
        self.level = burst
        self._filled = now

    def fill(self, now: float) -> None:
        """Only what time gives is capped; a refund may lift the level above the burst and stays."""
        grown = self.level + self.rate * (now - self._filled)
        self.level, self._filled = max(self.level, min(self.burst, grown)), now

    def seconds_until(self, cost: float) -> float:
        """The level as of the last `fill` must grow to the cost, or to the brim for a cost above it."""
        return max(0.0, min(cost, self.burst) - self.level) / self.rate if self.rate else 0.0

    def take(self, cost: float) -> None:
        """A refund is a negative cost."""
        if self.rate:
            self.level -= cost


class RateLimiter:
    """Callers of `acquire` go on in the order of their calls, each as soon as both buckets and no pause allow it."""

    def __init__(
        self,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._requests = Bucket(
            requests_per_minute, max(FEWEST_REQUESTS, (requests_per_minute or 0) / 60 * BURST_SECONDS), clock()
        )
        self._tokens = Bucket(tokens_per_minute, (tokens_per_minute or 0) / 60 * BURST_SECONDS, clock())
        self._paused_until = clock()
        self._turn = asyncio.Lock()
        self._sleeper: asyncio.Future[None] | None = None

    async def acquire(self, tokens: float) -> None:
        """Wait for the turn of one request that takes about `tokens`."""
        async with self._turn:
            while wait := self._seconds_until(tokens):
                self._sleeper = asyncio.ensure_future(self._sleep(wait))
                try:
                    await asyncio.wait([self._sleeper])
                finally:
                    self._sleeper.cancel()
            self._requests.take(1)
            self._tokens.take(tokens)

    def refund(self, tokens: float) -> None:
        """Give back what was estimated and not used; a negative number when more was used."""
        self._tokens.fill(self._clock())  # first what time gave, which is capped
        self._tokens.take(-tokens)
        if self._sleeper:
            self._sleeper.cancel()  # the one whose turn it is looks again

    def pause(self, seconds: float) -> None:
        """Nobody goes on for so long, however full the buckets are: the server said that it has enough."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def _seconds_until(self, tokens: float) -> float:
        now = self._clock()
        self._requests.fill(now)
        self._tokens.fill(now)
        wait = max(self._paused_until - now, self._requests.seconds_until(1), self._tokens.seconds_until(tokens))
        return wait if wait > _NO_TIME else 0.0


def estimated_tokens(request: Request) -> float:
    """What providers count when a request comes in: about four characters a token, and all of its max_tokens."""
    texts = [request.prompt or ""] + [text for message in request.messages or [] for text in message.values()]
    schema = len(json.dumps(request.json_schema)) if request.json_schema else 0
    return (sum(map(len, texts)) + schema) / 4 + request.max_tokens
