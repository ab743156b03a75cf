"""The budget: exact prices, a cap that is never passed, the same answers bought at every concurrency."""

import asyncio
import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.errors import StageError
from netllama.teacher import retries
from netllama.teacher.api_answer import make_withheld_answer
from netllama.teacher.budget import Budget, BudgetReached, Prices, Usage
from netllama.teacher.client import Teacher
from netllama.teacher.store import Response, ResponseStore
from tests.support.openai_server import (
    CUT_OFF,
    DROPPED,
    HANG,
    TRUNCATED,
    Answer,
    Asked,
    OpenAIServer,
    Page,
    Refusal,
    Reply,
)
from tests.support.teacher_requests import LIVE, always, ask, request

PRICES = Prices(Decimal("0.15"), Decimal("0.60"))
DEAR = Prices(Decimal(1_000_000), Decimal(1_000_000))
"""A dollar a token: sums can be read."""
BOUND = DEAR.bound_price(request(""))
"""The most that the requests of these tests can cost, at a dollar a token."""


@pytest.fixture(autouse=True)
def _in_a_folder_without_keys(workdir: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.005)


def answered(tokens: tuple[int, int], batch: bool = False) -> Response:
    used = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return Response(key="k", draw="a/0/0", model="m", text="", finish_reason="stop", max_tokens=64, batch=batch, **used)


def billed(server: OpenAIServer, prices: Prices = DEAR) -> Decimal:
    return sum((prices.price_tokens(Usage(*tokens)) for tokens in server.billed), Decimal(0))


def test_prices_are_exact_and_a_batch_costs_half() -> None:
    assert PRICES.price_tokens(Usage(1, 1)) == Decimal("0.00000075")
    assert sum(PRICES.price_answer(answered((1, 1))) for _ in range(10_000)) == Decimal("0.0075")
    assert PRICES.price_answer(answered((1000, 10), batch=True)) * 2 == PRICES.price_answer(answered((1000, 10)))


@given(st.text(), st.text(), st.booleans())
def test_no_prompt_has_more_tokens_than_it_has_bytes(first: str, second: str, chat: bool) -> None:
    messages = [{"role": "system", "content": first}, {"role": "user", "content": second}]
    asked = request("").model_copy(
        update={"messages": messages, "prompt": None} if chat else {"prompt": first + second}
    )
    assert asked.prompt_bound >= len((first + second).encode())


def test_without_prices_everything_is_free_and_there_is_no_cap() -> None:
    async def run() -> Budget:
        budget = Budget(max_usd=Decimal(0))
        await budget.settle(await budget.reserve(request("")), budget.price_answer(answered((9, 9))))
        return budget

    assert asyncio.run(run()).spent == 0


def test_a_request_that_does_not_fit_waits_for_what_is_under_way_and_the_next_one_behind_it() -> None:
    async def run() -> list[str]:
        budget, events = Budget(DEAR, 2 * BOUND + 1), []

        async def buy(name: str, usd: Decimal, seconds: float) -> None:
            reserved = await budget.reserve(request(""))
            events.append(f"{name} sent")
            assert budget.spent + budget.reserved <= 2 * BOUND + 1
            await asyncio.sleep(seconds)
            events.append(f"{name} answered")
            await budget.settle(reserved, usd)

        bought = (buy("a", Decimal(1), 0.03), buy("b", Decimal(0), 0.01), buy("c", Decimal(0), 0.0))
        await asyncio.gather(*bought)
        return events

    assert asyncio.run(run()) == ["a sent", "b sent", "b answered", "c sent", "c answered", "a answered"]


def test_a_small_request_does_not_overtake_a_big_one() -> None:
    async def run() -> list[str]:
        budget, order = Budget(DEAR, BOUND + 30), []

        async def buy(name: str, max_tokens: int) -> None:
            reserved = await budget.reserve(request("", max_tokens=max_tokens))
            order.append(name)
            await asyncio.sleep(0.01)
            await budget.settle(reserved, Decimal(1))

        await asyncio.gather(buy("first", 64), buy("big", 64), buy("small", 1))
        return order

    assert asyncio.run(run()) == ["first", "big", "small"]


def test_the_cap_is_reached_only_when_nothing_is_under_way() -> None:
    async def run() -> None:
        budget = Budget(DEAR, BOUND)
        first = await budget.reserve(request(""))
        second = asyncio.create_task(budget.reserve(request("")))
        await asyncio.sleep(0.01)
        assert not second.done()
        await budget.settle(first, Decimal(1))
        with pytest.raises(BudgetReached):
            await second

    asyncio.run(run())


@pytest.mark.parametrize("batch", [False, True])
def test_an_answer_without_usage_counts_as_all_that_was_reserved(batch: bool) -> None:
    asked, dear_to_cache = request("", api="chat"), Prices(Decimal(3), Decimal(5), cache_write=Decimal(4))
    for prices in (DEAR, PRICES, dear_to_cache):
        unreported = answered((0, 0), batch).bound_usage(asked)
        assert Budget(prices).price_answer(unreported) == prices.bound_price(asked, batch)
    for reported in (answered((3, 4)), make_withheld_answer(asked)):
        assert reported.bound_usage(asked) is reported


@pytest.mark.parametrize("kept", ["by this version", "by an earlier version", "in data/recorded/"])
def test_the_cap_holds_over_runs_where_the_server_reports_no_usage(kept: str) -> None:
    """Each run began at 0 US$ again, and bought as much as the first."""
    cap = 3 * BOUND
    with OpenAIServer(always(Answer("text", prompt_tokens=0, completion_tokens=0))) as server:
        requests = [request(server.url, slot) for slot in range(10)]
        store = ResponseStore(LIVE)
        for _ in range(3):
            budget = Budget(DEAR, cap)
            with pytest.raises(BudgetReached):
                ask(server.url, requests, store, budget=budget)
            assert budget.spent == cap
            bought = [found for asked in requests if (found := store.find(asked))]
            assert budget.describe_spent(bought) == (
                f", {cap:.4f} US$ in total ({cap:.4f} of it at most: the server reported no tokens of 3 answers)"
            )
            if kept != "by this version":
                without = [found.model_copy(update={"prompt_bound": 0}) for found in bought]
                LIVE.unlink()
                ResponseStore(LIVE).add(*without)
            store = ResponseStore(LIVE)
            if kept == "in data/recorded/":
                store = ResponseStore(LIVE.with_name("new.jsonl"), [LIVE])
                assert [found and store.is_recorded(found) for found in map(store.find, requests[:3])] == [True] * 3
        assert len(server.requests) == 3


@pytest.mark.parametrize("seed", range(3))
def test_the_cap_is_never_passed_and_buys_the_same_at_every_concurrency(seed: int) -> None:
    bought = []
    for concurrency in (1, 64):

        def priced(asked: Asked) -> Reply:
            draw = random.Random(f"{seed}{asked.prompt}")
            return Answer("text", "stop", draw.randrange(1, 6), draw.randrange(1, 65), delay=0.002 * draw.randrange(10))

        cap, store = BOUND + 500, ResponseStore(LIVE.with_name(f"{concurrency}.jsonl"))
        budget = Budget(DEAR, cap)
        with OpenAIServer(priced) as server:
            requests = [request(server.url, slot) for slot in range(100)]
            with pytest.raises(BudgetReached):
                ask(server.url, requests, store, concurrency, budget=budget)
            assert billed(server) == budget.spent <= cap
        assert budget.reserved == 0
        bought.append([slot for slot, asked in enumerate(requests) if store.find(asked)])
        assert len(bought[-1]) == len(server.requests), "all that was under way is stored"
    assert bought[0] == bought[1]
    assert bought[0] == list(range(len(bought[0])))
    assert len(bought[0]) > 5


def test_the_cap_holds_with_rate_limits_and_faults_and_the_same_is_bought() -> None:
    bought = []
    for concurrency in (1, 64):
        refused: set[str] = set()

        def often_refused(asked: Asked, refused: set[str] = refused) -> Reply:
            if asked.prompt not in refused and random.Random(asked.prompt).random() < 0.6:
                refused.add(asked.prompt)
                return random.Random(asked.prompt).choice([Refusal(429), Refusal(500), Refusal(409)])
            return Answer("text", "stop", 5, 10, delay=0.01)

        budget = Budget(DEAR, BOUND + 310)
        with OpenAIServer(often_refused) as server:
            requests = [request(server.url, slot) for slot in range(64)]
            store = ResponseStore(LIVE.with_name(f"{concurrency}.jsonl"))
            with pytest.raises(BudgetReached):
                ask(server.url, requests, store, concurrency, budget=budget)
            assert billed(server) == budget.spent <= BOUND + 310, "what is refused costs nothing"
        bought.append([slot for slot, asked in enumerate(requests) if store.find(asked)])
    assert bought[0] == bought[1] == list(range(21))


@pytest.mark.parametrize("fault", [DROPPED, CUT_OFF, TRUNCATED, HANG])
def test_an_answer_that_was_lost_counts_at_its_bound(fault: Reply) -> None:
    budget = Budget(DEAR)
    with OpenAIServer(lambda asked: fault if asked.number == 0 else Answer("text", "stop", 5, 10)) as server:
        ask(server.url, [request(server.url)], budget=budget, request_timeout=0.5)
        assert billed(server) <= budget.spent == BOUND + 15
    assert budget.reserved == 0


def test_the_retry_of_a_lost_answer_is_not_sent_when_it_does_not_fit() -> None:
    budget = Budget(DEAR, 2 * BOUND - 1)
    with OpenAIServer(always(TRUNCATED)) as server, pytest.raises(BudgetReached):
        ask(server.url, [request(server.url)], budget=budget)
    assert len(server.requests) == 1


@pytest.mark.parametrize("fault", [Refusal(400), Refusal(401), Page("<html>")])
def test_what_ends_the_run_costs_nothing(fault: Reply) -> None:
    budget = Budget(DEAR)
    with OpenAIServer(always(fault)) as server, pytest.raises(StageError):
        ask(server.url, [request(server.url)], budget=budget)
    assert (budget.spent, budget.reserved) == (0, 0)


def test_answers_bought_before_count_once_each() -> None:
    async def run(url: str) -> Budget:
        budget = Budget(DEAR, 5 * BOUND)
        async with Teacher(url, ResponseStore(LIVE), 2, budget=budget) as teacher:
            requests = [request(url, slot) for slot in range(3)]
            await teacher.ask_all(requests)
            await teacher.ask_all(requests)
            await teacher.ask_all([request(url, 0, max_tokens=128)])
        return budget

    with OpenAIServer(lambda asked: Answer("text", "length", 5, 64 if asked.number < 3 else 100)) as server:
        assert asyncio.run(run(server.url)).spent == 3 * 69 + 105
        assert asyncio.run(run(server.url)).spent == 3 * 69 + 105, "a replay: the data cost what it cost"
        budget = Budget(DEAR, Decimal(3 * 69 + 105) + BOUND - 1)
        with pytest.raises(BudgetReached):
            ask(server.url, [request(server.url, slot) for slot in range(4)], budget=budget)
    assert len(server.requests) == 4
