"""Asks the teacher, which is any OpenAI-compatible server or the embedded one, for answers that are not stored yet.

`Teacher.ask_all` returns stored answers and sends only the other requests; an answer is stored before it is used.
Requests wait, in the order of the list, for a slot (max_concurrency), for money (budget) and for their pace (limiter),
and keep slot and money until they are answered. So the requests that a budget pays for are the same at every
concurrency. Neither server nor key is needed until the first request is sent. That one stays alone in flight until a
remote server has answered: a wrong key is rejected once, not 64 times.
"""

import asyncio
import contextlib
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from netllama.core.errors import StageError
from netllama.teacher.api_answer import make_withheld_answer, parse_answer
from netllama.teacher.api_format import OPTIONAL, PATHS, PLAIN, Dialect, build_body
from netllama.teacher.budget import Budget
from netllama.teacher.connection import connect, post
from netllama.teacher.error_verdicts import STORED, ParameterRefused, PromptWithheld, classify_error
from netllama.teacher.model_lookup import describe_model
from netllama.teacher.rate_limiter import RateLimiter, estimate_tokens
from netllama.teacher.retries import Backoff, Retryable
from netllama.teacher.store import EMBEDDED, Request, Response, ResponseStore

if TYPE_CHECKING:
    from openai import AsyncOpenAI

WORTH_A_LINE = 10.0
"""Seconds of waiting after which a silent progress bar would look stuck."""
WITHHELD_IN_A_ROW = 3
"""Prompts that a server may refuse one after another, for reasons that it does not name, before the run ends."""
CLAIM_POLL = 0.1
"""Seconds between two tries to claim a request that another process is asking."""


class Teacher:
    """Use as `async with Teacher(...) as teacher`; leaving it closes the client and stops the embedded server.

    `asked` counts answers from the server and `replayed` those from the store; `on_answer` is called after each answer.
    """

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
        self._dialect = PLAIN
        self._doubtful: list[tuple[Response, str]] = []
        """Prompts refused, perhaps not for what they say, and the refusals: no request sent since was answered."""
        self._settled = 0
        """How many were, before those."""
        self._counted: set[str] = set()
        self._waiting: set[asyncio.Task[Any]] = set()
        self._failure: Exception | None = None
        self._quiet_until = 0.0
        self._client: AsyncOpenAI | None = None
        self._cleanup = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "Teacher":
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.budget.close()
        await self._cleanup.aclose()

    async def ask_all(self, requests: list[Request]) -> list[Response]:
        """The answers in the order of the requests.

        After a failure (or `BudgetReached`) nothing more is sent. Requests in flight are paid for, so their answers are
        awaited and stored before the failure is raised.
        """
        for request in requests:
            if request.key not in self._counted:
                self._counted.add(request.key)
                self.budget.count_bought(self.store.list_bought(request))
        stored = [self.store.find(request) for request in requests]
        self.replayed += len(requests) - stored.count(None)
        tasks: dict[tuple[str, int], asyncio.Task[Response]] = {}
        for request, found in zip(requests, stored, strict=True):
            if not found and _identify(request) not in tasks:
                tasks[_identify(request)] = asyncio.create_task(self._ask(request))
        try:
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        if not self._failure:
            self._settle_doubts(len(self._doubtful))
        if self._failure:
            raise self._failure
        return [found or tasks[_identify(request)].result() for request, found in zip(requests, stored, strict=True)]

    async def _ask(self, request: Request) -> Response:
        """Take one request from its turn to its stored answer. If it fails, it cancels all that still wait."""
        task = _get_task()
        self._waiting.add(task)
        try:
            async with contextlib.AsyncExitStack() as held:
                async with self._turn:
                    if self._failure:
                        raise self._failure
                    await self._claim(request)
                    held.callback(self.store.claims.drop, request.claim)
                    if answered := self.store.find(request):  # another process has asked for it meanwhile
                        self.budget.count_bought([answered])
                        self.replayed += 1
                        return answered
                    await self._open.wait()
                    await self._slots.acquire()
                    held.callback(self._slots.release)
                    client = await self._connect(request.model)
                    await self.limiter.acquire(estimate_tokens(request))
                    reserved = await self.budget.reserve(request)
                    if self.base_url and not self._answers:
                        self._open.clear()
                response = await self._fetch_answer(client, request, reserved)
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

    async def _connect(self, model: str) -> "AsyncOpenAI":
        if self._client is None:
            self._client = await self._cleanup.enter_async_context(connect(self.base_url, self.request_timeout))
            if self.base_url and (line := await describe_model(self._client, self.name, model)):
                print(line, flush=True)
        return self._client

    async def _fetch_answer(self, client: "AsyncOpenAI", request: Request, reserved: Decimal) -> Response:
        """Try until the request is answered, and store the answer. The first attempt has had its turn already."""
        backoff, spent = Backoff(self.max_retries), Decimal(0)
        try:
            while isinstance(outcome := await self._attempt(client, request), Retryable):
                if outcome.maybe_billed:
                    await self.budget.settle_lost(reserved)
                    reserved = Decimal(0)
                seconds = backoff.next_wait(outcome, self._answers)
                if self._failure or seconds is None:
                    raise self._failure or StageError(outcome.message)
                self._waiting.add(_get_task())
                if outcome.maybe_billed:
                    reserved = await self.budget.reserve(request)
                await self._sleep(seconds, outcome.rate_limited)
                await self.limiter.acquire(estimate_tokens(request))
            if isinstance(outcome, PromptWithheld):
                return self._withhold(request, outcome)
            spent = self.budget.price_answer(outcome)
            self.budget.note_payments([(outcome, spent)])
            self.store.add(outcome)
            self._open.set()
            return outcome
        finally:
            await self.budget.settle(reserved, spent)

    async def _attempt(self, client: "AsyncOpenAI", request: Request) -> Response | Retryable | PromptWithheld:
        """Send once and refund unused tokens to the limiter. Raises errors that retrying cannot fix."""
        dialect, estimate = self._dialect, estimate_tokens(request)
        body, refused = build_body(request, dialect), self._settled + len(self._doubtful)
        self._waiting.discard(_get_task())  # in flight and perhaps paid for: no longer cancelled
        try:
            # httpx times out after silence only, so a body that trickles in never trips its timeout.
            async with asyncio.timeout(self.request_timeout):
                response = parse_answer(request, await post(client, PATHS[request.api], body))
        except Exception as error:
            verdict = classify_error(error, self.name, request.model, body)
        else:
            self.limiter.refund(estimate - (response.prompt_tokens + response.completion_tokens or estimate))
            self._answers += 1
            self._settle_doubts(refused - self._settled)
            return response
        if isinstance(verdict, Retryable):
            self.limiter.refund(0 if verdict.maybe_billed else estimate)
            return verdict
        self.limiter.refund(estimate)
        if isinstance(verdict, PromptWithheld):
            return verdict
        if isinstance(verdict, ParameterRefused) and dialect.can_omit(verdict.name, request.api):
            self._leave_out(verdict, request)
            await self.limiter.acquire(estimate)
            return await self._attempt(client, request)
        raise verdict if isinstance(verdict, StageError) else StageError(f"{verdict.refusal}; {STORED}") from None

    def _leave_out(self, refused: ParameterRefused, request: Request) -> None:
        """Leave the parameter out of all further requests of this run."""
        if refused.name not in self._dialect.omitted:
            self._dialect = self._dialect.refuse(refused.name)
            print(describe_omission(refused, self._dialect, request), flush=True)

    def _withhold(self, request: Request, verdict: PromptWithheld) -> Response:
        """The answer to a prompt that the server refused; if it may have refused it for other reasons, in doubt."""
        answer = make_withheld_answer(request)
        self._open.set()
        if verdict.certain:
            self.store.add(answer)
            return answer
        self._doubtful.append((answer, verdict.refusal))
        if len(self._doubtful) >= WITHHELD_IN_A_ROW:
            raise StageError(f"{self._doubtful[0][1]}; {STORED}")
        return answer

    def _settle_doubts(self, number: int) -> None:
        """Store the first `number` answers in doubt: a prompt sent after them was answered, so these were refused for
        what they say.

        If no prompt was answered at all, the first refusal is the run's failure.
        """
        settled, self._doubtful = self._doubtful[: max(number, 0)], self._doubtful[max(number, 0) :]
        self._settled += len(settled)
        if settled and not self._answers:
            self._failure = StageError(f"{settled[0][1]}; {STORED}")
            return
        for answer, refusal in settled:
            self.store.add(answer)
            print(f"{refusal}; this prompt stays without an answer, the run goes on", flush=True)

    async def _sleep(self, seconds: float, rate_limited: bool) -> None:
        """Wait for this request's next attempt; a rate limit also pauses all other requests."""
        if rate_limited:
            self.limiter.pause(seconds)
            now = asyncio.get_running_loop().time()
            if seconds >= WORTH_A_LINE and now > self._quiet_until:
                print(f"{self.name}: rate-limited (429), continues in {seconds:.0f} s", flush=True)
                self._quiet_until = now + seconds
        await asyncio.sleep(seconds)


def describe_omission(refused: ParameterRefused, dialect: Dialect, request: Request) -> str:
    """A line about what is no longer sent, for the user."""
    limit = dialect.choose_limit_name(request.api)
    what = f"called {limit} from now on" if refused.name not in OPTIONAL else "left out from now on"
    return f"{refused.refusal}; {refused.name} is {what}"


def _identify(request: Request) -> tuple[str, int]:
    """What equal requests have in common; they are sent once."""
    return request.key, request.max_tokens


def _get_task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task is not None, "called from a coroutine that no task runs"
    return task
