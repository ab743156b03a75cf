"""A whole run against a provider that refuses what today's does: reasoning, limits, tiers, cache and bill."""

import asyncio
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from netllama.selfinstruct.estimate import estimate_family
from netllama.selfinstruct.rounds import Family, grow_families
from netllama.selfinstruct.yield_report import build_yield_report
from netllama.teacher.batch_api_teacher import BatchTeacher
from netllama.teacher.budget import Budget, Prices
from netllama.teacher.client import Teacher
from netllama.teacher.store import ResponseStore
from tests.support.batch_server import BatchServer
from tests.support.families import family
from tests.support.openai_server import OpenAIServer, new_tasks, strict_answer
from tests.support.strict_provider import StrictProvider
from tests.support.teacher_requests import LIVE

LUNA = Prices(Decimal("0.10"), Decimal("0.50"), Decimal("0.01"), Decimal("0.125"))
TODAY: dict[str, Any] = {
    "model_name": "gpt-6-luna",
    "api": "responses",
    "reasoning_effort": "low",
    "temperature": None,
    "top_p": None,
    "frequency_penalty": None,
    "presence_penalty": None,
    "max_tokens": 2000,
    "max_reasoning_tokens": 1000,
    "prompt_cache": True,
    "max_exemplar_tokens": 3000,
    "requests_per_round": 4,
    "num_instructions_to_generate": 16,
}


@pytest.fixture(autouse=True)
def _in_a_folder_without_keys(workdir: object) -> None:
    pass


def grow(one: Family, teacher: Any) -> Family:
    async def run() -> None:
        async with teacher:
            assert await grow_families([one], teacher, lambda: None)

    asyncio.run(run())
    return one


def live(one: Family, url: str, budget: Budget | None = None) -> Family:
    return grow(one, Teacher(url, ResponseStore(LIVE), 4, budget=budget))


def family_at(url: str, **changes: Any) -> Family:
    return family("bgp_knowledge", **TODAY | {"base_url": url} | changes)


def test_the_profiles_settings_are_taken_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with OpenAIServer(StrictProvider(new_tasks)) as server:
        one = live(family_at(server.url), server.url)
    assert len(one.kept) == 16
    assert "left out" not in capsys.readouterr().out, "nothing is refused"
    for asked in server.requests:
        assert asked.path == "/v1/responses"
        assert asked.body["store"] is False
        assert asked.body["reasoning"] == {"effort": "low"}
        assert asked.body["max_output_tokens"] == 3000
        assert asked.body.keys() == {
            "model", "input", "max_output_tokens", "store", "reasoning", "prompt_cache_key", "prompt_cache_options",
        }  # fmt: skip
    assert all(row.reasoning_tokens == 40 for row in one.responses)


def test_a_strict_schema_goes_where_the_responses_api_has_it() -> None:
    with OpenAIServer(StrictProvider(strict_answer)) as server:
        one = live(family_at(server.url, output_contract="json_schema"), server.url)
    form = server.requests[0].body["text"]["format"]
    assert (form["type"], form["strict"], form["schema"]["required"]) == ("json_schema", True, ["tasks"])
    assert "response_format" not in server.requests[0].body
    assert {row.category for row in one.kept} <= {seed.category for seed in one.seeds}
    assert one.kept


def test_the_chat_api_of_the_same_model_is_asked_without_what_it_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    sampled = {"api": "chat", "temperature": 1.0, "top_p": 1.0}
    with OpenAIServer(StrictProvider(new_tasks)) as server:
        one = live(family_at(server.url, **sampled), server.url)
    assert len(one.kept) == 16
    said = capsys.readouterr().out
    for name, what in (
        ("temperature", "left out"),
        ("top_p", "left out"),
        ("max_tokens", "called max_completion_tokens"),
    ):
        assert said.count(f"; {name} is {what} from now on") == 1
        assert name not in server.requests[-1].body
    assert len(server.requests) == len(one.responses) + 3
    assert server.requests[-1].body["max_completion_tokens"] == 3000
    assert server.requests[-1].body["reasoning_effort"] == "low"


def test_a_limit_that_thinking_uses_up_is_a_cut_that_a_higher_one_asks_again() -> None:
    with OpenAIServer(StrictProvider(new_tasks)) as server:
        small = {"max_tokens": 30, "max_reasoning_tokens": 0, "max_requests": 4, "num_instructions_to_generate": 4}
        one = family_at(server.url, **small)
        requests = one.build_round()

        async def run(asked: Any) -> Any:
            async with Teacher(server.url, ResponseStore(LIVE), 4) as teacher:
                return await teacher.ask_all(asked)

        cut = asyncio.run(run(requests))
        assert {(row.text, row.finish_reason, row.completion_tokens) for row in cut} == {("", "length", 30)}
        raised = family_at(server.url, **small | {"max_reasoning_tokens": 2000}).build_round()
        assert [request.key for request in raised] == [request.key for request in requests]
        assert {row.finish_reason for row in asyncio.run(run(raised))} == {"stop"}


def test_all_prompts_of_a_family_begin_alike_and_the_second_one_is_read_from_the_cache() -> None:
    with OpenAIServer(StrictProvider(new_tasks)) as server:
        one = live(family_at(server.url), server.url)
    openings = {json.dumps(asked.body["input"][0]) for asked in server.requests}
    assert len(openings) == 1
    assert len({asked.body["prompt_cache_key"] for asked in server.requests}) == 1
    assert all(seed.instruction.split("\n")[0] in one.opening for seed in one.seeds)
    written, *read = sorted(one.responses, key=lambda row: row.cached_tokens)
    assert written.cache_write_tokens > 1024
    assert written.cached_tokens == 0
    assert {row.cached_tokens for row in read} == {written.cache_write_tokens}


def test_the_bill_counts_cached_written_and_thought_tokens_and_the_report_their_share() -> None:
    budget = Budget(LUNA, Decimal(9))
    with OpenAIServer(StrictProvider(new_tasks)) as server:
        one = live(family_at(server.url), server.url, budget)
    million, usd = Decimal(1_000_000), Decimal(0)
    for row in one.responses:
        fresh = row.prompt_tokens - row.cached_tokens - row.cache_write_tokens
        usd += (
            fresh * Decimal("0.10")
            + row.cached_tokens * Decimal("0.01")
            + row.cache_write_tokens * Decimal("0.125")
            + row.completion_tokens * Decimal("0.50")
        ) / million
    assert budget.spent == usd
    report = build_yield_report([one], LUNA, lambda row: False)
    assert report["usd"] == pytest.approx(float(usd), abs=1e-6)
    assert report["reasoning_tokens"] == 40 * len(one.responses)
    cached = sum(row.cached_tokens for row in one.responses)
    assert report["cached_share"] == pytest.approx(cached / sum(row.prompt_tokens for row in one.responses), abs=1e-6)
    assert 0.3 < report["cached_share"] < 1


def test_flex_costs_half_and_the_cap_is_held_at_the_full_price() -> None:
    with OpenAIServer(StrictProvider(new_tasks)) as server:
        full, half = Budget(LUNA), Budget(LUNA)
        live(family_at(server.url), server.url, full)
        LIVE.unlink()
        one = live(family_at(server.url, service_tier="flex"), server.url, half)
        assert {asked.body.get("service_tier") for asked in server.requests} == {None, "flex"}
    assert {row.service_tier for row in one.responses} == {"flex"}
    assert 0 < half.spent < full.spent
    assert half.spent == sum(map(LUNA.price_answer, one.responses), Decimal(0))
    request = family_at("http://a/v1", service_tier="flex").build_round()[0]
    assert LUNA.bound_price(request) == LUNA.bound_price(request.model_copy(update={"service_tier": None}))


def test_the_batch_api_takes_the_same_bodies_without_a_tier() -> None:
    with BatchServer(StrictProvider(new_tasks)) as server:
        teacher = BatchTeacher(server.url, ResponseStore(LIVE), poll_seconds=0.01)
        one = grow(family_at(server.url, mode="batch"), teacher)
    assert len(one.kept) == 16
    assert all(row.batch for row in one.responses)
    bodies = [asked.body for asked in server.live.requests]
    assert {asked.path for asked in server.live.requests} == {"/v1/responses"}
    assert all(body["store"] is False and "service_tier" not in body for body in bodies)


def test_the_batch_api_leaves_out_what_the_model_refuses_and_remembers_it() -> None:
    with BatchServer(StrictProvider(new_tasks)) as server:

        def batch() -> Family:
            one = family_at(server.url, mode="batch", temperature=0.7, num_instructions_to_generate=4)
            return grow(one, BatchTeacher(server.url, ResponseStore(LIVE), poll_seconds=0.01))

        first = batch()
        assert len(first.kept) == 4
        assert [made.about["metadata"].get("omitted") for made in server.batches[:2]] == [None, "temperature"]
        LIVE.unlink()
        made = len(server.batches)
        assert batch().kept == first.kept
        assert len(server.batches) == made, "the answers are still there: found by what the batches say of themselves"


def test_the_estimate_expects_the_opening_in_the_cache_and_halves_for_flex_and_batch() -> None:
    made = estimate_family(family_at("http://a/v1"), ResponseStore(LIVE))
    assert made.likely_cached_tokens > 1024
    likely, most = made.compute_price(LUNA, "")
    assert made.compute_price(LUNA, "flex") == (likely / 2, most / 2)
    uncached = replace(made, likely_cached_tokens=0)
    assert made.compute_price(LUNA, "batch") == (uncached.compute_price(LUNA, "")[0] / 2, most / 2)
    assert uncached.compute_price(LUNA, "")[0] > likely
    short = estimate_family(family_at("http://a/v1", prompt_cache=False), ResponseStore(LIVE))
    assert short.likely_cached_tokens == 0
    assert made.compute_price(LUNA, "")[1] > likely
