"""What answers cost, and a cap that no run passes: each request is checked against spent + reserved before it is sent.

All runs of a checkout share the cap of a stage (spending.py): what others have paid and reserved counts, too.

Prices are exact decimals, in US dollars per million tokens. A request reserves the most that it can cost (a byte-level
tokenizer makes at most one token per byte; the answer ends at max_tokens), and its answer settles the real cost.
Requests are admitted in order, and one that does not fit waits for those in flight. So the last request that the budget
admits is the same at every concurrency.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from netllama.teacher.spending import Payment, Spending
from netllama.teacher.store import Request, Response

MILLION = Decimal(1_000_000)
BATCH = "batch"
TIER_FACTORS = {BATCH: Decimal("0.5"), "flex": Decimal("0.5"), "priority": Decimal(2), "fast": Decimal(2)}
"""OpenAI's prices in terms of the standard tier (developers.openai.com/api/docs/models/gpt-6-luna, 2026-11-28). "batch"
is the Batch API, the others are values of service_tier."""
OTHERS_POLL = 0.2
"""Seconds between two looks at what other runs have freed."""


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
        """What an answer cost; the most that it can have cost, if the server did not report its tokens."""
        if response.prompt_bound:
            return self._price_at_most(response.prompt_bound, response.max_tokens, response.batch)
        usage = Usage(
            response.prompt_tokens, response.completion_tokens, response.cached_tokens, response.cache_write_tokens
        )
        return self.price_tokens(usage, BATCH if response.batch else response.service_tier)

    def bound_price(self, request: Request, batch: bool = False) -> Decimal:
        """The most that an answer to `request` can cost: at the standard tier, where the cheaper one has no room."""
        return self._price_at_most(request.prompt_bound, request.max_tokens, batch)

    def _price_at_most(self, prompt: int, completion: int, batch: bool) -> Decimal:
        usage = Usage(prompt, completion, written=prompt if (self.cache_write or 0) > self.prompt else 0)
        return self.price_tokens(usage, BATCH if batch else "")

    def estimate_unreported(self, responses: Iterable[Response]) -> tuple[int, Decimal]:
        """How many answers the server reported no tokens of, and US dollars: what is counted for them."""
        costs = [self.price_answer(response) for response in responses if response.prompt_bound]
        return len(costs), sum(costs, Decimal(0))


class Budget:
    """Dollars spent and reserved, kept below a cap. Without prices everything is free and there is no cap.

    `spent` is what the answers of this run cost, whoever bought them; `spent_elsewhere` what other answers cost that
    runs of this checkout paid for.
    """

    def __init__(
        self, prices: Prices | None = None, max_usd: Decimal | None = None, spending: Spending | None = None
    ) -> None:
        self.prices = prices
        self.max_usd = max_usd
        self.spent = Decimal(0)
        self.spent_elsewhere = Decimal(0)
        self.reserved = Decimal(0)
        self._spending = spending if prices else None
        self._read = 0
        """How many of the payments are counted."""
        self._elsewhere: dict[tuple[str, int], Decimal] = {}
        self._own: set[tuple[str, int]] = set()
        """The answers (key, max_tokens) that `spent` holds."""
        self._batches: dict[str, Decimal] = {}
        self._changed = asyncio.Condition()
        self._turn = asyncio.Lock()

    def count_bought(self, responses: Iterable[Response]) -> None:
        """Count answers that other runs have bought as spent: the cap is for the data, not for one run of the stage."""
        if self.prices:
            for response in responses:
                answer = (response.key, response.max_tokens)
                self._own.add(answer)
                self.spent_elsewhere -= self._elsewhere.pop(answer, Decimal(0))
                self.spent += self.prices.price_answer(response)

    def look_around(self) -> None:
        """Bring `spent_elsewhere` up to date."""
        if self._spending:
            with self._spending.alone():
                self._count_payments()

    async def reserve(self, request: Request) -> Decimal:
        """Reserve the most that `request` can cost and return it; raises `BudgetReached` if it can never fit.

        Callers are served in the order of their calls.
        """
        if not self.prices:
            return Decimal(0)
        most = self.prices.bound_price(request)
        async with self._turn, self._changed:
            while not (fits := self._try_to_reserve(most))[0]:
                if not (self.reserved or fits[1]):
                    raise BudgetReached
                with contextlib.suppress(TimeoutError):
                    # Nobody tells us when another run frees something.
                    await asyncio.wait_for(self._changed.wait(), OTHERS_POLL if fits[1] else None)
            return most

    def _try_to_reserve(self, usd: Decimal) -> tuple[bool, Decimal]:
        """Reserve `usd` if there is room for it. Returns whether there was, and what other runs have reserved."""
        if self._spending is None:
            fits, others = self.has_room_for(usd), Decimal(0)
            self.reserved += usd if fits else 0
            return fits, others
        with self._spending.alone():
            self._count_payments()
            others = sum(self._list_others().values(), Decimal(0))
            fits = self.has_room_for(usd + others)
            if fits:
                self.reserved += usd
                self._note_reserved()
        return fits, others

    def admit(self, prices: Sequence[Decimal]) -> int:
        """How many of `prices`, from the first one on, fit together."""
        others = Decimal(0)
        if self._spending:
            with self._spending.alone():
                self._count_payments()
                others = sum(self._list_others().values(), Decimal(0))
        for number, total in enumerate(itertools.accumulate(prices)):
            if not self.has_room_for(total + others):
                return number
        return len(prices)

    def reserve_batch(self, batch: str, usd: Decimal) -> None:
        """Reserve what a batch of the provider may cost, besides what is reserved for it already."""
        self.reserved += usd
        if self._spending:
            with self._spending.alone():
                self._batches[batch] = self._batches.get(batch, Decimal(0)) + usd
                self._note_reserved()

    def price_answer(self, response: Response) -> Decimal:
        return self.prices.price_answer(response) if self.prices else Decimal(0)

    def has_room_for(self, usd: Decimal) -> bool:
        return self.max_usd is None or self.spent + self.spent_elsewhere + self.reserved + usd <= self.max_usd

    def note_payments(self, answers: Iterable[tuple[Response, Decimal]]) -> None:
        """Tell all runs what answers cost. Call it before they are stored, and then `settle`."""
        if self._spending:
            with self._spending.alone():
                self._count_payments()
                for response, usd in answers:
                    answer = (response.key, response.max_tokens)
                    self._own.add(answer)
                    self.spent_elsewhere -= self._elsewhere.pop(answer, Decimal(0))
                    # Two runs may import the results of one batch: they are paid for once.
                    if usd and answer not in self._spending.known:
                        self._spending.pay(*answer, usd)
                self._read = len(self._spending.payments)

    async def settle_lost(self, reserved: Decimal) -> None:
        """Count an answer that was perhaps paid for, and lost on the way, at all that was reserved for it."""
        if self._spending and reserved:
            with self._spending.alone():
                self._count_payments()
                self._spending.pay("", 0, reserved)
        await self.settle(reserved, reserved)

    async def settle(self, reserved: Decimal, usd: Decimal, batch: str = "") -> None:
        """Release a reservation, of which `usd` was spent. `batch`: the batch of the provider that it was for."""
        async with self._changed:
            self.reserved -= reserved
            self.spent += usd
            self._batches.pop(batch, None)
            if self._spending and reserved:
                with self._spending.alone():
                    self._note_reserved()
            self._changed.notify_all()

    def describe_spent(self, responses: Iterable[Response]) -> str:
        """What the answers of this run cost, and what of it is an estimate; empty without prices."""
        if not self.prices:
            return ""
        number, usd = self.prices.estimate_unreported(responses)
        unreported = f" ({usd:.4f} of it at most: the server reported no tokens of {number} answers)" if number else ""
        return f", {self.spent:.4f} US$ in total{unreported}"

    def describe_end(self, section: str) -> str:
        """Why the run ended before it was done, and what to do."""
        others = f" (of which {self.spent_elsewhere:.4f} are spent on other data)" if self.spent_elsewhere else ""
        return f"the next request could pass {section}.max_usd={self.max_usd}{others}: raise it to continue"

    def close(self) -> None:
        """Free what is still reserved for other runs to spend."""
        if self._spending:
            self._spending.close()

    def _note_reserved(self) -> None:
        """Tell other runs what is reserved: what single requests may cost together, and each batch."""
        if self._spending:
            batches = sum(self._batches.values(), Decimal(0))
            self._spending.reserve({self._spending.run: self.reserved - batches, **self._batches})

    def _list_others(self) -> dict[str, Decimal]:
        """What other runs have reserved for what this run has not reserved itself."""
        assert self._spending is not None
        reserved = self._spending.list_reserved()
        return {name: max(usd - self._batches.get(name, Decimal(0)), Decimal(0)) for name, usd in reserved.items()}

    def _count_payments(self) -> None:
        """Count what was paid since for answers that are not this run's own."""
        assert self._spending is not None
        new: list[Payment] = self._spending.payments[self._read :]
        for paid in new:
            answer = (paid.key, paid.max_tokens)
            if paid.run != self._spending.run and answer not in self._own:
                self._elsewhere[answer] = self._elsewhere.get(answer, Decimal(0)) + paid.usd
                self.spent_elsewhere += paid.usd
        self._read = len(self._spending.payments)
