"""The rate limiter: never above the rate, in order, refunds used; and the client behind a limited server."""

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.core.errors import StageError
from netllama.teacher import retries
from netllama.teacher.rate_limiter import BURST_SECONDS, FEWEST_REQUESTS, RateLimiter, estimate_tokens
from netllama.teacher.store import ResponseStore
from tests.support.openai_server import Answer, Asked, OpenAIServer, Refusal, Reply
from tests.support.teacher_requests import LIVE, ask, request


class Clock:
    """Time that moves to the next sleeper's end as soon as nobody has anything else to do."""

    def __init__(self) -> None:
        self.now = 0.0
        self._count = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._count), future))
        await future

    async def run(self, *tasks: Awaitable[object]) -> None:
        together = asyncio.gather(*tasks)
        while not together.done():
            for _ in range(6):  # a sleeper that wakes needs a few turns of the loop until it sleeps again
                await asyncio.sleep(0)
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            if self._sleepers and not together.done():
                self.now, _, future = heapq.heappop(self._sleepers)
                future.set_result(None)
        await together


def played(scenario: Callable[[Clock], Awaitable[None]]) -> None:
    async def run() -> None:
        await scenario(Clock())

    asyncio.run(run())


CALLS = st.lists(
    st.tuples(
        st.floats(0, 3),  # seconds after the call before it
        st.integers(1, 400),  # its estimate
        st.floats(0, 1),  # the share of it that is refunded
        st.floats(0, 5),  # seconds until then
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60)
@given(CALLS, st.integers(30, 3000), st.integers(600, 60_000), st.booleans())
def test_no_window_admits_more_than_the_rate_and_a_burst_net_of_refunds(
    calls: list[tuple[float, int, float, float]], rpm: int, tpm: int, refunds: bool
) -> None:
    admitted: list[tuple[float, int, int]] = []
    refunded: list[tuple[float, int]] = []

    async def scenario(clock: Clock) -> None:
        limiter = RateLimiter(rpm, tpm, clock, clock.sleep)

        async def call(number: int, start: float, tokens: int, share: float, later: float) -> None:
            await clock.sleep(start)
            await limiter.acquire(tokens)
            admitted.append((clock.now, number, tokens))
            await clock.sleep(later)
            if refunds:
                refunded.append((clock.now, int(tokens * share)))
                limiter.refund(int(tokens * share))

        starts = itertools.accumulate(call[0] for call in calls)
        await clock.run(
            *(call(number, start, *rest[1:]) for number, (start, rest) in enumerate(zip(starts, calls, strict=True)))
        )

    played(scenario)
    assert [number for _, number, _ in admitted] == list(range(len(calls))), "first come, first served"
    requests_burst = max(FEWEST_REQUESTS, rpm / 60 * BURST_SECONDS)
    tokens_burst = max(tpm / 60 * BURST_SECONDS, max(tokens for _, tokens, _, _ in calls))
    for first, (start, _, _) in enumerate(admitted):
        for last in range(first, len(admitted)):
            window, seconds = admitted[first : last + 1], admitted[last][0] - start
            assert len(window) <= rpm / 60 * seconds + requests_burst + 0.01
            back = sum(tokens for moment, tokens in refunded if moment <= admitted[last][0])
            assert sum(tokens for _, _, tokens in window) - back <= tpm / 60 * seconds + tokens_burst + 0.01


def test_the_pace_is_even_from_the_start() -> None:
    async def scenario(clock: Clock) -> None:
        limiter, moments = RateLimiter(600, None, clock, clock.sleep), []

        async def call() -> None:
            await limiter.acquire(1)
            moments.append(clock.now)

        await clock.run(*(call() for _ in range(100)))
        assert sum(moment <= 1.0 for moment in moments) <= 600 / 60 * (1 + BURST_SECONDS)
        assert moments[-1] == pytest.approx(10 - BURST_SECONDS, abs=0.2)

    played(scenario)


def test_a_request_bigger_than_the_bucket_passes_and_the_next_one_waits_for_its_debt() -> None:
    async def scenario(clock: Clock) -> None:
        limiter, moments = RateLimiter(None, 6000, clock, clock.sleep), []

        async def call(tokens: int) -> None:
            await limiter.acquire(tokens)
            moments.append(clock.now)

        await clock.run(call(1000), call(1000), call(10))
        assert moments == pytest.approx([0, 10, 19.6], abs=0.01)

    played(scenario)


def test_a_refund_lets_the_next_one_go_at_once() -> None:
    async def scenario(clock: Clock) -> None:
        limiter, moments = RateLimiter(None, 6000, clock, clock.sleep), []

        async def call(tokens: int) -> None:
            await limiter.acquire(tokens)
            moments.append(clock.now)

        async def refund() -> None:
            await clock.sleep(2)
            limiter.refund(900)

        await clock.run(call(1000), call(100), refund())
        assert moments == [0, 2]

    played(scenario)


def test_a_refund_to_a_full_bucket_is_not_lost() -> None:
    async def scenario(clock: Clock) -> None:
        limiter = RateLimiter(None, 6000, clock, clock.sleep)
        await limiter.acquire(50)
        await clock.run(clock.sleep(60))  # full by the time that went by
        limiter.refund(40)
        moments = []

        async def call(tokens: int) -> None:
            await limiter.acquire(tokens)
            moments.append(clock.now)

        await clock.run(call(50), call(40))
        assert moments == [60, 60]

    played(scenario)


def test_more_than_the_estimate_is_paid_for_by_the_next_one() -> None:
    async def scenario(clock: Clock) -> None:
        limiter = RateLimiter(None, 6000, clock, clock.sleep)
        await limiter.acquire(50)
        limiter.refund(-100)
        await clock.run(limiter.acquire(50))
        assert clock.now == pytest.approx(1.5)

    played(scenario)


def test_a_pause_holds_everybody_and_the_longest_one_counts() -> None:
    async def scenario(clock: Clock) -> None:
        limiter, moments = RateLimiter(None, None, clock, clock.sleep), []
        limiter.pause(5)
        limiter.pause(2)

        async def call() -> None:
            await limiter.acquire(1)
            moments.append(clock.now)

        await clock.run(call(), call(), call())
        assert moments == [5, 5, 5]

    played(scenario)


def test_one_who_is_called_off_leaves_the_queue() -> None:
    async def scenario(clock: Clock) -> None:
        limiter = RateLimiter(60, None, clock, clock.sleep)
        for _ in range(FEWEST_REQUESTS):
            await limiter.acquire(1)
        waiting = [asyncio.create_task(limiter.acquire(1)) for _ in range(3)]
        await asyncio.sleep(0)
        for task in waiting[:2]:
            task.cancel()
        await clock.run(waiting[2])
        assert clock.now == pytest.approx(1)

    played(scenario)


def test_without_limits_nobody_waits() -> None:
    async def scenario(clock: Clock) -> None:
        limiter = RateLimiter(None, None, clock, clock.sleep)
        for _ in range(1000):
            await limiter.acquire(1_000_000)
        assert clock.now == 0

    played(scenario)


def test_the_estimate_is_a_quarter_of_the_characters_and_all_of_the_answer() -> None:
    assert estimate_tokens(request("", 7)) == len("task 7") / 4 + 64
    assert estimate_tokens(request("", 7, "chat")) >= len("task 7") / 4 + 64


@pytest.fixture
def _workplace(workdir: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.005)


def limited(per_second: int, retry_after: float | None) -> Callable[[Asked], Reply]:
    """A tenth of `per_second` is answered in each tenth of a second, the rest is sent back."""
    lock, answered = threading.Lock(), {}  # type: ignore[var-annotated]

    def reply(asked: Asked) -> Reply:
        with lock:
            piece = int(time.monotonic() * 10)
            answered[piece] = answered.get(piece, 0) + 1
            full = answered[piece] > per_second / 10
        return Refusal(429, "rate_limit_exceeded", retry_after=retry_after) if full else Answer("text", delay=0.02)

    return reply


@pytest.mark.usefixtures("_workplace")
@pytest.mark.parametrize("retry_after", [0.1, None])
def test_64_at_once_behind_a_limit_of_50_a_second_all_end_well(retry_after: float | None) -> None:
    with OpenAIServer(limited(50, retry_after)) as server:
        responses = ask(server.url, [request(server.url, slot) for slot in range(100)], max_concurrency=64)
    assert [response.text for response in responses] == ["text"] * 100
    assert len(server.requests) > 100, "some were sent back"
    assert len(LIVE.read_bytes().splitlines()) == 100


@pytest.mark.usefixtures("_workplace")
def test_an_endless_429_ends_after_the_retries_at_any_concurrency() -> None:
    def one_answer_then_none(asked: Asked) -> Reply:
        return Answer("text") if asked.number == 0 else Refusal(429, retry_after=0.01)

    with OpenAIServer(one_answer_then_none) as server, pytest.raises(StageError, match="still rate-limited"):
        ask(server.url, [request(server.url, slot) for slot in range(64)], max_concurrency=64, max_retries=3)
    assert len(server.requests) <= 1 + 63 * 4


@pytest.mark.usefixtures("_workplace")
def test_a_429_holds_all_the_others_for_as_long_as_the_server_says() -> None:
    moments: dict[int, float] = {}

    def refuse_the_second(asked: Asked) -> Reply:
        moments[asked.number] = time.monotonic()
        return Refusal(429, retry_after=0.5) if asked.number == 1 else Answer("text", delay=0.2)

    with OpenAIServer(refuse_the_second) as server:
        ask(server.url, [request(server.url, slot) for slot in range(20)], max_concurrency=4)
    after = [moment - moments[1] for number, moment in moments.items() if number > 4]
    assert min(after) >= 0.5
    assert len(server.requests) == 21


@pytest.mark.usefixtures("_workplace")
def test_a_long_rate_limit_is_one_line_for_all_that_wait(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("netllama.teacher.client.WORTH_A_LINE", 0.5)

    def refuse_the_first_of_each(asked: Asked) -> Reply:
        return Refusal(429, retry_after=0.6) if 1 <= asked.number <= 4 else Answer("text", delay=0.1)

    with OpenAIServer(refuse_the_first_of_each) as server:
        ask(server.url, [request(server.url, slot) for slot in range(6)], max_concurrency=4)
    assert capfd.readouterr().out == f"{server.url}: rate-limited (429), continues in 1 s\n"


@pytest.mark.usefixtures("_workplace")
def test_the_client_keeps_to_the_configured_requests_and_tokens() -> None:
    with OpenAIServer(lambda asked: Answer("text", "stop", 2, 8)) as server:
        for limiter in (RateLimiter(1200, None), RateLimiter(None, 12_000)):
            before = time.monotonic()
            store = ResponseStore(LIVE.with_name(f"{before}.jsonl"))
            ask(server.url, [request(server.url, slot) for slot in range(40)], store, 16, limiter=limiter)
            assert 1.3 < time.monotonic() - before < 15, "40 answers of 10 tokens: two seconds, less the burst"


@pytest.mark.usefixtures("_workplace")
def test_requests_are_sent_in_the_order_of_the_list() -> None:
    with OpenAIServer(lambda asked: Answer("text", delay=0.05)) as server:
        requests = [request(server.url, slot) for slot in range(30)]
        ask(server.url, requests, max_concurrency=64, limiter=RateLimiter(1800, None))
    slots = [int(prompt.split()[1]) for prompt in server.prompts]
    assert max(abs(slot - place) for place, slot in enumerate(slots)) <= 15, "a burst may arrive in any order"
