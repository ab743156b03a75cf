"""What answers cost, and a cap that no run passes: each request is checked against spent + reserved before it is sent.

Prices are exact decimals, in US dollars per million tokens. A request reserves the most that it can cost (a byte-level
tokenizer makes at most one token per byte; the answer ends at max_tokens), and its answer settles the real cost.
Requests are admitted in order, and one that does not fit waits for those in flight. So the last request that the budget
admits is the same at every concurrency.
"""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from netllama.teacher.store import Request, Response

MILLION = Decimal(1_000_000)
BATCH = "batch"
TIER_FACTORS = {BATCH: Decimal("0.5"), "flex": Decimal("0.5"), "priority": Decimal(2), "fast": Decimal(2)}
"""OpenAI's prices in terms of the standard tier (developers.openai.com/api/docs/models/gpt-6-luna, 2026-11-28). "batch"
is the Batch API, the others are values of service_tier."""
_TOKENS_AROUND_A_MESSAGE = 16


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer."""

    prompt: int
    completion: int
    """Thinking included."""
    cached: int = 0
    """Of the prompt: read from the provider's cache."""
    written: int = 0
    """Of the prompt: put into the provider's cache."""


class BudgetReached(Exception):
    """The next request could pass max_usd, and no request in flight can free part of its reservation."""


@dataclass(frozen=True)
class Prices:
    """US dollars per million tokens at the provider's standard tier."""

    prompt: Decimal
    completion: Decimal
    cached: Decimal | None = None
    """Prompt tokens that were in the provider's cache; None: as other prompt tokens."""
    cache_write: Decimal | None = None
    """Prompt tokens that were put into the provider's cache; None: as other prompt tokens."""

    def price_tokens(self, usage: Usage, tier: str = "") -> Decimal:
        """US dollars at `tier`, one of `TIER_FACTORS` or the standard one."""
        cached = self.prompt if self.cached is None else self.cached
        written = self.prompt if self.cache_write is None else self.cache_write
        fresh = max(0, usage.prompt - usage.cached - usage.written)
        usd = self.prompt * fresh + cached * usage.cached + written * usage.written + self.completion * usage.completion
        return usd / MILLION * TIER_FACTORS.get(tier, Decimal(1))

    def price_answer(self, response: Response) -> Decimal:
        usage = Usage(
            response.prompt_tokens, response.completion_tokens, response.cached_tokens, response.cache_write_tokens
        )
        return self.price_tokens(usage, BATCH if response.batch else response.service_tier)

    def bound_price(self, request: Request, batch: bool = False) -> Decimal:
        """The most that an answer to `request` can cost: at the standard tier, where the cheaper one has no room."""
        tokens = bound_prompt_tokens(request)
        usage = Usage(tokens, request.max_tokens, written=tokens if (self.cache_write or 0) > self.prompt else 0)
        return self.price_tokens(usage, BATCH if batch else "")


def bound_prompt_tokens(request: Request) -> int:
    """An upper bound: one token per byte, plus some for the markup around each message."""
    messages = request.messages or [{"content": request.prompt or ""}]
    size = sum(len(text.encode()) + _TOKENS_AROUND_A_MESSAGE for message in messages for text in message.values())
    return size + (len(json.dumps(request.json_schema)) if request.json_schema else 0)


class Budget:
    """Dollars spent and reserved, kept below a cap. Without prices everything is free and there is no cap."""

    def __init__(self, prices: Prices | None = None, max_usd: Decimal | None = None) -> None:
        self.prices = prices
        self.max_usd = max_usd
        self.spent = Decimal(0)
        self.reserved = Decimal(0)
        self._changed = asyncio.Condition()
        self._turn = asyncio.Lock()

    def count_bought(self, responses: Iterable[Response]) -> None:
        """Count answers that other runs have bought as spent: the cap is for the data, not for one run of the stage."""
        if self.prices:
            self.spent += sum((self.prices.price_answer(response) for response in responses), Decimal(0))

    async def reserve(self, request: Request) -> Decimal:
        """Reserve the most that `request` can cost and return it; raises `BudgetReached` if it can never fit.

        Callers are served in the order of their calls.
        """
        if not self.prices:
            return Decimal(0)
        most = self.prices.bound_price(request)
        async with self._turn, self._changed:
            while not self.has_room_for(most):
                if not self.reserved:
                    raise BudgetReached
                await self._changed.wait()
            self.reserved += most
            return most

    def price_answer(self, response: Response, reserved: Decimal) -> Decimal:
        """What an answer cost. If the server does not report its tokens, it counts as all of what was reserved."""
        if not self.prices:
            return Decimal(0)
        unknown = not response.prompt_tokens and response.finish_reason != "content_filter"
        return reserved if unknown else self.prices.price_answer(response)

    def has_room_for(self, usd: Decimal) -> bool:
        return self.max_usd is None or self.spent + self.reserved + usd <= self.max_usd

    async def settle(self, reserved: Decimal, usd: Decimal) -> None:
        """Release a reservation, of which `usd` was spent."""
        async with self._changed:
            self.reserved -= reserved
            self.spent += usd
            self._changed.notify_all()
