"""The estimate: what is stored, what is likely, and a bound that no run passes; nothing is sent."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from netllama.selfinstruct.estimate import Estimate, estimate_family, format_estimates, judge_stored_rounds
from netllama.teacher.budget import Budget, Prices
from netllama.teacher.store import Response, ResponseStore
from tests.support.families import Scripted, family, grown, tasks_for
from tests.support.openai_server import Answer, Asked

PRICES = Prices(Decimal("0.15"), Decimal("0.60"))
NOTHING = Path("no such file")


def long_winded(asked: Asked) -> Answer:
    """Every answer ends at max_tokens, with one whole task in it; a token is four characters of the prompt."""
    text = tasks_for(asked).text
    return Answer(text, "length", -(-len(asked.prompt) // 4), asked.body["max_tokens"])


def silent(asked: Asked) -> Answer:
    return Answer("", "length", -(-len(asked.prompt) // 4), asked.body["max_tokens"])


def tiring(asked: Asked) -> Answer:
    """One answer with tasks, and silence from then on: the family has a task, so it is asked to the end."""
    return silent(asked) if asked.number else long_winded(asked)


def stored(tmp_path: Path, lines: int | None, **changes: Any) -> ResponseStore:
    """A store with the first `lines` answers of a run (None: all)."""
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    grown(family(**changes), teacher=Scripted(store=ResponseStore(whole)))
    part.write_text("".join(whole.read_text().splitlines(keepends=True)[:lines]))
    return ResponseStore(part)


def test_where_nothing_is_known_a_request_gives_one_row_of_max_tokens() -> None:
    made = estimate_family(family(num_instructions_to_generate=9, requests_per_round=4), ResponseStore(NOTHING))
    assert (made.kept, made.answers) == (0, 0)
    assert made.likely_requests == 12, "nine rows in whole rounds of four"
    assert made.most_requests == 32
    assert made.likely_completion_tokens == made.most_completion_tokens == 320


def test_prompts_count_four_characters_a_token() -> None:
    changes: dict[str, Any] = {"num_seed_exemplars": 1, "num_machine_exemplars": 0, "max_exemplar_tokens": 100_000}
    one = family(**changes)
    sizes = [len(request.prompt or "") / 4 for request in family(**changes).build_round()]
    made = estimate_family(one, ResponseStore(NOTHING))
    assert made.likely_prompt_tokens == round(sum(sizes) / len(sizes))
    assert made.most_prompt_tokens >= max(sizes)


@pytest.mark.parametrize("reply", [tasks_for, long_winded, silent, tiring])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"api": "chat", "num_instructions_to_generate": 40},
        {"api": "chat", "output_contract": "json_schema", "num_seed_exemplars": 1},
        {"max_exemplar_tokens": 3000, "num_machine_exemplars": 3, "num_instructions_to_generate": 30},
        {"max_exemplar_tokens": 20},
    ],
)
@pytest.mark.parametrize("name", ["bgp_knowledge", "pybgpstream"])
def test_no_run_asks_or_pays_more_than_the_estimate_says_at_most(
    reply: Any, changes: dict[str, Any], name: str
) -> None:
    made = estimate_family(family(name, **changes), ResponseStore(NOTHING))
    one = family(name, **changes)
    teacher = grown(one, teacher=Scripted(reply))
    assert 0 < len(teacher.asked) <= made.most_requests
    assert max(response.prompt_tokens for response in one.responses) <= made.most_prompt_tokens
    assert max(response.completion_tokens for response in one.responses) <= made.most_completion_tokens
    paid = sum((PRICES.price_answer(response) for response in one.responses), Decimal(0))
    assert paid <= made.compute_price(PRICES, "")[1]
    if reply is tiring:
        assert len(teacher.asked) == made.most_requests, "a teacher of one task is asked as often as that"


def test_the_likely_figures_come_from_the_yield_so_far(tmp_path: Path) -> None:
    """Rounds of 4 that keep 2 of each answer: after 8 answers 16 rows, 24 are missing, 12 requests to go."""
    changes = {"num_instructions_to_generate": 40, "requests_per_round": 4}
    made = estimate_family(family(**changes), stored(tmp_path, 8, **changes))
    assert (made.kept, made.answers, made.likely_requests, made.most_requests) == (16, 8, 12, 24)
    assert (made.likely_completion_tokens, made.most_completion_tokens) == (7, 320)


def test_answers_whose_tokens_were_not_reported_say_nothing_of_the_next_ones(tmp_path: Path) -> None:
    changes = {"num_instructions_to_generate": 40, "requests_per_round": 4}
    store = ResponseStore(tmp_path / "live.jsonl")
    unreported = Scripted(lambda asked: replace(tasks_for(asked), prompt_tokens=0, completion_tokens=0), store)
    asyncio.run(unreported.ask_all(family(**changes).build_round()))
    made = estimate_family(family(**changes), store)
    assert (made.kept, made.answers, made.likely_completion_tokens) == (8, 4, 320)


@pytest.mark.parametrize("lines", [0, 1, 4, 6, 11, 19])
def test_after_a_part_of_a_run_the_estimate_goes_on_from_what_is_stored(tmp_path: Path, lines: int) -> None:
    changes = {"num_instructions_to_generate": 40, "requests_per_round": 4}
    store = stored(tmp_path, lines, **changes)
    one = family(**changes)
    made = estimate_family(one, store)
    assert made.answers == lines
    assert made.kept == len(one.kept) == 2 * (lines // 4 * 4), "whole rounds are judged"
    assert made.most_requests == 32 - lines
    pending = judge_stored_rounds(one, store)
    assert [request.draw for request in pending] == [f"bgp_knowledge/{lines // 4}/{slot}" for slot in range(4)]

    rest = family(**changes)
    teacher = grown(rest, teacher=Scripted(store=store))
    assert len(rest.kept) == 40
    assert 0 < len(teacher.asked) <= made.most_requests
    if lines >= 4:  # a round to learn the yield from
        assert len(teacher.asked) == made.likely_requests == 20 - lines


def test_a_run_that_is_done_has_nothing_to_ask(tmp_path: Path) -> None:
    made = estimate_family(family(), stored(tmp_path, None))
    assert made.kept == 8
    assert (made.likely_requests, made.most_requests) == (0, 0)
    assert made.compute_price(PRICES, "") == (0, 0)
    empty = estimate_family(family(num_instructions_to_generate=0), ResponseStore(NOTHING))
    assert (empty.answers, empty.likely_requests, empty.most_requests) == (0, 0, 0)


def test_a_family_at_the_end_of_its_requests_has_nothing_to_ask(tmp_path: Path) -> None:
    changes = {"max_requests": 3, "requests_per_round": 2, "num_instructions_to_generate": 100}
    made = estimate_family(family(**changes), stored(tmp_path, 2, **changes))
    assert (made.answers, made.likely_requests, made.most_requests) == (2, 1, 1)
    made = estimate_family(family(**changes), stored(tmp_path, None, **changes))
    assert (made.answers, made.likely_requests, made.most_requests) == (3, 0, 0)


def test_judging_stored_rounds_leaves_the_family_as_a_run_would(tmp_path: Path) -> None:
    store, one, other = stored(tmp_path, None), family(), family()
    assert judge_stored_rounds(one, store) == []
    assert grown(other, teacher=Scripted(store=store)).asked == []
    assert (one.kept, one.rejected, one.responses) == (other.kept, other.rejected, other.responses)
    assert not NOTHING.exists()


def made(name: str, likely: int, most: int) -> Estimate:
    return Estimate(name, 5, 6, likely, most, 1000, 2000, 100, 300)


def test_the_price_is_exact_and_half_in_a_batch() -> None:
    assert made("a", 7, 10).compute_price(PRICES, "") == (Decimal("0.00147"), Decimal("0.0048"))
    assert made("a", 7, 10).compute_price(PRICES, "batch") == (Decimal("0.000735"), Decimal("0.0024"))


def test_the_table_has_a_line_a_family_their_sum_and_the_cap() -> None:
    budget = Budget(PRICES, Decimal("1.5"))
    budget.count_bought([paid(1_000_000)])
    head, first, second, total, *tiers, unit, cap = format_estimates(
        [made("a", 7, 10), made("b", 10, 100)], budget, ""
    ).splitlines()
    assert head.split("  ")[0] == "family"
    assert first.split() == ["a", "5", "6", "7", "10", "7,700", "23,000", "0%", "0.0015", "0.0048"]
    assert second.split() == ["b", "5", "6", "10", "100", "11,000", "230,000", "0%", "0.0021", "0.0480"]
    assert total.split() == ["all", "10", "12", "17", "110", "18,700", "253,000", "0%", "0.0036", "0.0528"]
    assert len({len(line) for line in (head, first, second, total)}) == 1, "the columns stand below their names"
    assert [line.split() for line in tiers] == [
        ["US$", "in", "all", "likely", "at", "most"],
        ["live", "0.0036", "0.0528", "<-", "these", "settings"],
        ["flex", "0.0018", "0.0264"],
        ["batch", "0.0018", "0.0264"],
    ]
    assert unit.startswith("prompt tokens are estimated at four characters each")
    assert cap == "teacher.max_usd 1.5: spent so far 0.1500"


def paid(prompt_tokens: int) -> Response:
    limits = {"max_tokens": 64, "prompt_tokens": prompt_tokens, "completion_tokens": 0}
    return Response(key="k", draw="a/0/0", model="m", text="", finish_reason="stop", **limits)


def test_without_a_price_the_table_says_which_params_to_set() -> None:
    head, first, total, _, last = format_estimates([made("a", 7, 10)], Budget(), "").splitlines()
    assert "US$" not in head
    assert first.split() == ["a", "5", "6", "7", "10", "7,700", "23,000", "0%"]
    assert total.split()[0] == "all"
    assert "teacher.usd_per_million_prompt_tokens" in last
