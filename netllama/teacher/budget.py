"""What answers cost, and the cap on it: checked before each send against spent + reserved.

Prices are exact decimals, in US dollars per million tokens. A request is reserved at the most that it can
cost (a byte-level tokenizer makes at most one token of a byte; the answer ends at max_tokens), and settled
at what it did cost. Requests are admitted in their order, and one that does not fit waits for what is under
way: so the last one that is sent is the same at every concurrency.
"""

import asyncio
import json
from collections.abc import Iterable
from decimal import Decimal

from netllama.teacher.store import Request, Response

MILLION = Decimal(1_000_000)
BATCH_FACTOR = Decimal("0.5")
"""The Batch API costs half: https://platform.openai.com/docs/guides/batch"""
_TOKENS_AROUND_A_MESSAGE = 16


class BudgetReached(Exception):
    """The next request could pass max_usd; nothing is under way."""


class Prices:
    """US dollars per million tokens of the prompt and of the answer."""

    def __init__(self, prompt: Decimal, completion: Decimal) -> None:
        self.prompt = prompt
        self.completion = completion

    def usd(self, prompt_tokens: int, completion_tokens: int, batch: bool = False) -> Decimal:
        usd = (self.prompt * prompt_tokens + self.completion * completion_tokens) / MILLION
        return usd * BATCH_FACTOR if batch else usd

    def of(self, response: Response) -> Decimal:
        return self.usd(response.prompt_tokens, response.completion_tokens, response.batch)

    def at_most(self, request: Request, batch: bool = False) -> Decimal:
        return self.usd(most_prompt_tokens(request), request.max_tokens, batch)


def most_prompt_tokens(request: Request) -> int:
    """An upper bound: one token a byte, and some for the frame of each message."""
    messages = request.messages or [{"content": request.prompt or ""}]
    size = sum(len(text.encode()) + _TOKENS_AROUND_A_MESSAGE for message in messages for text in message.values())
    return size + (len(json.dumps(request.json_schema)) if request.json_schema else 0)


class Budget:
    """Spent and reserved dollars below a cap. Without prices everything is free and there is no cap."""

    def __init__(self, prices: Prices | None = None, max_usd: Decimal | None = None) -> None:
        self.prices = prices
        self.max_usd = max_usd
        self.spent = Decimal(0)
        self.reserved = Decimal(0)
        self._changed = asyncio.Condition()
        self._turn = asyncio.Lock()

    def count(self, responses: Iterable[Response]) -> None:
        """Answers that were bought before: the cap is on what the data cost, not on one run of the stage."""
        if self.prices:
            self.spent += sum((self.prices.of(response) for response in responses), Decimal(0))

    async def reserve(self, request: Request) -> Decimal:
        """Set aside the most that `request` can cost; `BudgetReached` when that could pass the cap.

        Callers are served in the order of their calls.
        """
        if not self.prices:
            return Decimal(0)
        most = self.prices.at_most(request)
        async with self._turn, self._changed:
            while not self.fits(most):
                if not self.reserved:
                    raise BudgetReached
                await self._changed.wait()
            self.reserved += most
            return most

    def cost(self, response: Response, reserved: Decimal) -> Decimal:
        """What an answer cost; one whose server gives no usage counts as all that was reserved for it."""
        if not self.prices:
            return Decimal(0)
        unknown = not response.prompt_tokens and response.finish_reason != "content_filter"
        return reserved if unknown else self.prices.of(response)

    def fits(self, usd: Decimal) -> bool:
        return self.max_usd is None or self.spent + self.reserved + usd <= self.max_usd

    async def settle(self, reserved: Decimal, usd: Decimal) -> None:
        """Give back a reservation; `usd` of it was spent."""
        async with self._changed:
            self.reserved -= reserved
            self.spent += usd
            self._changed.notify_all()
