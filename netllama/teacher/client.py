"""Asking the teacher: any OpenAI-compatible server, or the embedded one, behind the response store.

`Teacher.ask_all` returns what is stored and asks only for what is not; an answer is stored before it is used.
A request waits, in the order of the list, for its slot (max_concurrency), for its money (budget) and for its
pace (limiter), and keeps slot and money until it is answered: so the requests that a budget pays for are the
same at every concurrency. The server (and the need for a key) begins with the first that was not stored, and
that one is alone under way until a remote server has answered: a wrong key is refused once, not 64 times.
"""

import asyncio
import contextlib
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from netllama.core.errors import StageError
from netllama.teacher.api_format import PATHS, body_of, response_of, withheld
from netllama.teacher.budget import Budget
from netllama.teacher.connection import connect, post
from netllama.teacher.rate_limiter import RateLimiter, estimated_tokens
from netllama.teacher.retries import LimitRenamed, Passing, Patience, Withheld, judge
from netllama.teacher.store import EMBEDDED, Request, Response, ResponseStore

if TYPE_CHECKING:
    from openai import AsyncOpenAI

WORTH_A_LINE = 10.0
"""Seconds of waiting after which a silent progress bar would look stuck."""
CLAIM_POLL = 0.1
"""Seconds between two tries to claim a request that another process is asking."""


class Teacher:
    """Use as `async with Teacher(...) as teacher`; leaving it closes the client and stops the embedded server."""

    def __init__(
        self,
        base_url: str,
        store: ResponseStore,
        max_concurrency: int,
        *,
        limiter: RateLimiter | None = None,
        budget: Budget | None = None,
        max_retries: int = 6,
        request_timeout: float = 600.0,
    ) -> None:
        self.base_url = base_url
        self.name = base_url or EMBEDDED
        self.store = store
        self.limiter = limiter or RateLimiter()
        self.budget = budget or Budget()
        self.max_retries = max_retries
        self.request_timeout = request_timeout
        self.asked = 0
        self.replayed = 0
        self.on_answer: Callable[[], None] = lambda: None
        self._slots = asyncio.Semaphore(max_concurrency)
        self._turn = asyncio.Lock()
        self._open = asyncio.Event()
        self._open.set()
        self._answers = 0
        self._limit_name = "max_tokens"
        self._counted: set[str] = set()
        self._waiting: set[asyncio.Task[Any]] = set()
        self._failure: Exception | None = None
        self._quiet_until = 0.0
        self._client: AsyncOpenAI | None = None
        self._cleanup = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "Teacher":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._cleanup.aclose()

    async def ask_all(self, requests: list[Request]) -> list[Response]:
        """The answers in the order of the requests.

        After a failure (or `BudgetReached`) nothing more is sent; what is under way is paid for, so it is
        awaited and stored before the failure is raised.
        """
        for request in requests:
            if request.key not in self._counted:
                self._counted.add(request.key)
                self.budget.count(self.store.bought(request))
        stored = [self.store.find(request) for request in requests]
        self.replayed += len(requests) - stored.count(None)
        tasks: dict[tuple[str, int], asyncio.Task[Response]] = {}
        for request, found in zip(requests, stored, strict=True):
            if not found and _same(request) not in tasks:
                tasks[_same(request)] = asyncio.create_task(self._ask(request))
        try:
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        if self._failure:
            raise self._failure
        return [found or tasks[_same(request)].result() for request, found in zip(requests, stored, strict=True)]

    async def _ask(self, request: Request) -> Response:
        """One request from its turn to its stored answer. Its failure is everybody's: who still waits is called off."""
        task = _this_task()
        self._waiting.add(task)
        try:
            async with contextlib.AsyncExitStack() as held:
                async with self._turn:
                    if self._failure:
                        raise self._failure
                    await self._claim(request)
                    held.callback(self.store.claims.drop, request.claim)
                    if answered := self.store.find(request):  # another process has asked for it meanwhile
                        self.budget.count([answered])
                        self.replayed += 1
                        return answered
                    await self._open.wait()
                    await self._slots.acquire()
                    held.callback(self._slots.release)
                    client = await self._connect()
                    await self.limiter.acquire(estimated_tokens(request))
                    reserved = await self.budget.reserve(request)
                    if self.base_url and not self._answers:
                        self._open.clear()
                response = await self._answer(client, request, reserved)
        except Exception as error:
            if not self._failure:
                self._failure = error
                for other in self._waiting - {task}:
                    other.cancel()
            raise
        finally:
            self._waiting.discard(task)
        self.asked += 1
        self.on_answer()
        return response

    async def _claim(self, request: Request) -> None:
        """Claim the request; wait while another process asks for the same answer, which it will store."""
        waited = 0.0
        while not self.store.claims.take(request.claim):
            await asyncio.sleep(CLAIM_POLL)
            waited += CLAIM_POLL
            if waited - CLAIM_POLL < WORTH_A_LINE <= waited:
                print(f"{self.name}: waiting for another process that asks for the same answer ...", flush=True)

    async def _connect(self) -> "AsyncOpenAI":
        if self._client is None:
            self._client = await self._cleanup.enter_async_context(connect(self.base_url, self.request_timeout))
        return self._client

    async def _answer(self, client: "AsyncOpenAI", request: Request, reserved: Decimal) -> Response:
        """Attempts until one is answered, and the answer stored. The first attempt has had its turn already."""
        patience, spent = Patience(self.max_retries), Decimal(0)
        try:
            while isinstance(outcome := await self._attempt(client, request), Passing):
                if outcome.maybe_billed:
                    await self.budget.settle(reserved, reserved)
                    reserved = Decimal(0)
                seconds = patience.wait(outcome, self._answers)
                if self._failure or seconds is None:
                    raise self._failure or StageError(outcome.line)
                self._waiting.add(_this_task())
                if outcome.maybe_billed:
                    reserved = await self.budget.reserve(request)
                await self._sleep(seconds, outcome.rate_limited)
                await self.limiter.acquire(estimated_tokens(request))
            spent = self.budget.cost(outcome, reserved)
            self.store.add(outcome)
            self._answers += 1
            self._open.set()
            return outcome
        finally:
            await self.budget.settle(reserved, spent)

    async def _attempt(self, client: "AsyncOpenAI", request: Request) -> Response | Passing:
        """Send once. What no retry mends is raised; the tokens that were not used go back to the limiter."""
        body, estimate = body_of(request), estimated_tokens(request)
        body[self._limit_name] = body.pop("max_tokens")
        self._waiting.discard(_this_task())  # under way, and perhaps paid for: not called off any more
        try:
            # httpx's own timeout is one of silence, which a body that trickles never trips.
            async with asyncio.timeout(self.request_timeout):
                response = response_of(request, await post(client, PATHS[request.api], body))
        except Exception as error:
            verdict = judge(error, self.name, request.model)
        else:
            self.limiter.refund(estimate - (response.prompt_tokens + response.completion_tokens or estimate))
            return response
        if isinstance(verdict, Passing):
            self.limiter.refund(0 if verdict.maybe_billed else estimate)
            return verdict
        self.limiter.refund(estimate)
        if isinstance(verdict, Withheld):
            return withheld(request)
        if isinstance(verdict, LimitRenamed) and request.api == "chat" and "max_tokens" in body:
            self._limit_name = "max_completion_tokens"  # for the rest of the run
            await self.limiter.acquire(estimate)
            return await self._attempt(client, request)
        raise verdict if isinstance(verdict, StageError) else StageError(verdict.line) from None

    async def _sleep(self, seconds: float, rate_limited: bool) -> None:
        """Until this request's next attempt; a rate limit holds all the others as well."""
        if rate_limited:
            self.limiter.pause(seconds)
            now = asyncio.get_running_loop().time()
            if seconds >= WORTH_A_LINE and now > self._quiet_until:
                print(f"{self.name}: rate-limited (429), going on in {seconds:.0f} s", flush=True)
                self._quiet_until = now + seconds
        await asyncio.sleep(seconds)


def _same(request: Request) -> tuple[str, int]:
    """Equal requests are asked once."""
    return request.key, request.max_tokens


def _this_task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task is not None, "called from a coroutine that no task runs"
    return task
