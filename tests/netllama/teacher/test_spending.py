"""Processes that share a checkout share max_usd: nothing is asked twice, and the cap holds for all of them together."""

import asyncio
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.errors import StageError
from netllama.teacher.budget import Budget, BudgetReached, Prices
from netllama.teacher.client import Teacher
from netllama.teacher.spending import Spending
from netllama.teacher.store import ResponseStore
from tests.support.openai_server import HANG, TRUNCATED, Answer, Asked, OpenAIServer, Reply
from tests.support.teacher_requests import ask, request

DEAR = Prices(Decimal(1_000_000), Decimal(1_000_000))
"""A dollar a token."""
BOUND = DEAR.bound_price(request(""))
FOLDER = Path("spending")
STORE = Path("store/responses.jsonl")


@pytest.fixture(autouse=True)
def _in_a_folder_without_keys(workdir: object) -> None:
    pass


def shared(cap: Decimal | None) -> Budget:
    return Budget(DEAR, cap, Spending(FOLDER, "teacher"))


def answer(asked: Asked) -> Reply:
    draw = random.Random(asked.prompt)
    return Answer("text", "stop", draw.randrange(1, 6), draw.randrange(1, 65), delay=0.005)


def billed(server: OpenAIServer) -> int:
    return sum(map(sum, server.billed))


def ask_in_a_process(url: str, slots: Sequence[int], cap: Decimal | None, concurrency: int) -> None:
    async def run() -> None:
        async with Teacher(url, ResponseStore(STORE), concurrency, budget=shared(cap)) as teacher:
            await teacher.ask_all([request(url, slot) for slot in slots])

    try:
        asyncio.run(run())
    except BudgetReached:
        os._exit(3)


def race(url: str, cap: Decimal | None, *slots: Sequence[int], concurrency: int = 8) -> list[int | None]:
    """Exit codes of processes that ask for these slots, all at once; 3: the cap was reached."""
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=ask_in_a_process, args=(url, each, cap, concurrency)) for each in slots]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    return [worker.exitcode for worker in workers]


def test_two_workers_ask_every_distinct_request_once() -> None:
    with OpenAIServer(answer) as server:
        assert race(server.url, None, range(48), list(reversed(range(48)))) == [0, 0]
        assert len(server.requests) == len(set(server.prompts)) == 48
    budget = shared(None)
    budget.look_around()
    assert budget.spent_elsewhere == billed(server)


def test_workers_that_ask_for_different_data_keep_one_cap_together() -> None:
    cap = BOUND + 300
    with OpenAIServer(answer) as server:
        codes = race(server.url, cap, range(0, 100, 2), range(1, 100, 2), range(25, 75))
        assert 3 in codes
        first = billed(server)
        assert BOUND <= first <= cap
        assert len(server.requests) == len(set(server.prompts))
        # A later run, too: for other data nothing is left, and what is there is replayed.
        with pytest.raises(BudgetReached):
            ask(server.url, [request(server.url, slot) for slot in range(100, 200)], budget=shared(cap))
        assert first <= billed(server) <= cap


def test_the_cap_of_one_stage_is_not_that_of_another() -> None:
    spending = Spending(FOLDER, "judge")
    with spending.alone():
        spending.pay("k", 64, Decimal(100))
    assert asyncio.run(shared(BOUND).reserve(request(""))) == BOUND


def test_what_a_killed_run_had_reserved_is_free_again_and_what_it_had_paid_is_not() -> None:
    reply = {0: Answer("text", "stop", 5, 10)}
    with OpenAIServer(lambda asked: reply.get(asked.number, HANG)) as server:
        fork = multiprocessing.get_context("fork")
        worker = fork.Process(target=ask_in_a_process, args=(server.url, range(3), None, 1))
        worker.start()
        while len(server.requests) < 2:
            time.sleep(0.01)
        other = shared(2 * BOUND)
        other.look_around()
        assert other.spent_elsewhere == 15
        assert other.admit([BOUND, BOUND]) == 0, "15 paid, one bound reserved"
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join()
        assert other.admit([BOUND, BOUND]) == 1
    assert list((FOLDER / "teacher").iterdir()) == [], "nothing of the dead is left"


def test_a_run_waits_while_another_may_free_what_it_needs() -> None:
    async def run() -> None:
        first, second = shared(BOUND + 20), shared(BOUND + 20)
        held = await first.reserve(request(""))
        waiting = asyncio.create_task(second.reserve(request("")))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await first.settle(held, Decimal(0))
        assert await waiting == BOUND
        third = asyncio.create_task(first.reserve(request("")))
        await second.settle(BOUND, Decimal(21))
        second.note_payments([])
        await second.settle_lost(Decimal(21))
        with pytest.raises(BudgetReached):
            await third

    asyncio.run(run())


def test_a_lost_answer_counts_for_every_run_at_its_bound() -> None:
    with OpenAIServer(lambda asked: TRUNCATED if asked.number == 0 else Answer("text", "stop", 5, 10)) as server:
        ask(server.url, [request(server.url)], budget=shared(None))
    other = shared(None)
    other.look_around()
    assert other.spent_elsewhere == BOUND + 15


def test_a_batch_that_two_runs_wait_for_counts_once() -> None:
    first, second, third = shared(Decimal(10)), shared(Decimal(10)), shared(Decimal(10))
    first.reserve_batch("b", Decimal(6))
    second.reserve_batch("b", Decimal(6))
    assert [each.admit([Decimal(4), Decimal(1)]) for each in (first, second, third)] == [1, 1, 1]


@given(st.binary(max_size=60))
def test_a_damaged_file_is_one_line_or_a_row_cut_off(rubbish: bytes) -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "teacher.jsonl").write_bytes(rubbish)
    said = ""
    try:
        shared(None).look_around()
    except StageError as error:
        said = str(error)
    assert not said or ("is not a payment; remove the line" in said and "\n" not in said)


def test_a_payment_cut_off_by_a_kill_is_dropped_and_the_next_one_counts() -> None:
    spending = Spending(FOLDER, "teacher")
    with spending.alone():
        spending.pay("a", 64, Decimal("1.5"))
    with open(FOLDER / "teacher.jsonl", "ab") as file:
        file.write(b'{"key": "b", "max_to')
    with spending.alone():
        spending.pay("c", 64, Decimal(2))
    reader = shared(None)
    reader.look_around()
    assert reader.spent_elsewhere == Decimal("3.5")
