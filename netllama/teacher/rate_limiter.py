"""Keeps all requests to one teacher within its requests and tokens a minute, at an even pace.

There are two token buckets, one for requests and one for tokens. A request takes its cost out of both as soon as they
hold it or are full: a cost bigger than the bucket passes too and leaves a debt, which the next requests wait for. So in
any t seconds at most rate * t + max(burst, the largest cost) is admitted. Bursts are short because providers enforce a
limit per minute by the second or finer (https://platform.openai.com/docs/guides/rate-limits): the requests of a whole
minute, sent at once, would get a 429.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

from netllama.teacher.store import Request

BURST_SECONDS = 0.5
"""Capacity of a bucket, in seconds of its rate. When the event loop is late (an fsync, a long parse), the bucket makes
up for it unless it was full."""
FEWEST_REQUESTS = 2
"""Least capacity of the bucket of requests. With a capacity of one, time lost to a late wake-up is lost for good."""

_NO_TIME = 1e-6
"""Seconds that count as rounding error: a clock need not move by less."""


class Bucket:
    """Fills at `per_minute` / 60 a second, up to `burst`. Without a limit (None) it always holds enough."""

    def __init__(self, per_minute: int | None, burst: float, now: float) -> None:
        self.rate = (per_minute or 0) / 60
        self.burst = burst
        self.level = burst
        self._filled = now

    def fill(self, now: float) -> None:
        """Add what has flowed in by `now`. Only the inflow stops at the burst: refunds may lift the level above it."""
        grown = self.level + self.rate * (now - self._filled)
        self.level, self._filled = max(self.level, min(self.burst, grown)), now

    def compute_wait(self, cost: float) -> float:
        """Seconds from the last `fill` until the bucket holds `cost`, or is full if `cost` is above its capacity."""
        return max(0.0, min(cost, self.burst) - self.level) / self.rate if self.rate else 0.0

    def take(self, cost: float) -> None:
        """Remove `cost`; a negative cost is a refund."""
        if self.rate:
            self.level -= cost


class RateLimiter:
    """Admits the callers of `acquire` in the order of their calls, as soon as both buckets and the pause allow it."""

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
        """Wait until a request that costs about `tokens` may be sent."""
        async with self._turn:
            while wait := self._compute_wait(tokens):
                self._sleeper = asyncio.ensure_future(self._sleep(wait))
                try:
                    await asyncio.wait([self._sleeper])
                finally:
                    self._sleeper.cancel()
            self._requests.take(1)
            self._tokens.take(tokens)

    def refund(self, tokens: float) -> None:
        """Give back tokens that were estimated but not used; negative if more were used than estimated."""
        self._tokens.fill(self._clock())  # first, because only this part is capped
        self._tokens.take(-tokens)
        if self._sleeper:
            self._sleeper.cancel()  # the request whose turn it is checks again

    def pause(self, seconds: float) -> None:
        """Admit nobody for so long, however full the buckets are, because the server answered 429."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def _compute_wait(self, tokens: float) -> float:
        now = self._clock()
        self._requests.fill(now)
        self._tokens.fill(now)
        wait = max(self._paused_until - now, self._requests.compute_wait(1), self._tokens.compute_wait(tokens))
        return wait if wait > _NO_TIME else 0.0


def estimate_tokens(request: Request) -> float:
    """What a provider counts when a request arrives: the prompt at four characters a token, plus all of max_tokens."""
    texts = [request.prompt or ""] + [text for message in request.messages or [] for text in message.values()]
    schema = len(json.dumps(request.json_schema)) if request.json_schema else 0
    return (sum(map(len, texts)) + schema) / 4 + request.max_tokens
