"""Estimates how many requests a run would send and what they would cost, before anything is sent.

Rounds whose answers are stored are judged first, as a run would judge them. From there on, a family's yield and mean
answer length so far give the likely figures (without any answer: one kept row per request, answers of max_tokens);
max_requests and max_tokens give the upper bounds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from netllama.selfinstruct.rounds import Family
from netllama.teacher.budget import Budget, Prices
from netllama.teacher.rate_limiter import estimate_tokens
from netllama.teacher.store import Request, ResponseStore


@dataclass(frozen=True)
class Estimate:
    """One family: what it has, and how much it will still ask for."""

    family: str
    kept: int
    answers: int
    likely_requests: int
    most_requests: int
    likely_prompt_tokens: int
    """Per request, at four characters a token; so are the next three fields."""
    most_prompt_tokens: int
    """The longest prompt of the next round, plus as many tokens as its examples may have."""
    likely_completion_tokens: int
    most_completion_tokens: int

    def compute_price(self, prices: Prices, batch: bool) -> tuple[Decimal, Decimal]:
        """US dollars (likely, at most); `batch`: at the price of the Batch API."""
        likely = (
            prices.price_tokens(self.likely_prompt_tokens, self.likely_completion_tokens, batch) * self.likely_requests
        )
        return likely, prices.price_tokens(
            self.most_prompt_tokens, self.most_completion_tokens, batch
        ) * self.most_requests


def judge_stored_rounds(family: Family, store: ResponseStore) -> list[Request]:
    """Judge the rounds that are stored in full; returns the requests of the next one, [] if the family is done."""
    while not family.is_done:
        requests = family.build_round()
        answers = [store.find(request) for request in requests]
        if None in answers:
            return requests
        family.judge_round([answer for answer in answers if answer])
    return []


def estimate_family(family: Family, store: ResponseStore) -> Estimate:
    """Judge the family's stored rounds and estimate what the rest of its run asks and costs."""
    requests = judge_stored_rounds(family, store)
    asked, params, max_tokens = len(family.responses), family.params, family.teacher.max_tokens
    stored = sum(store.find(request) is not None for request in requests)
    most = params.max_requests - asked - stored if requests else 0
    missing = params.num_instructions_to_generate - len(family.kept)
    rate = len(family.kept) / asked if family.kept else 1.0
    rounds = math.ceil(missing / rate / params.requests_per_round) if requests else 0
    lengths = [response.completion_tokens for response in family.responses]
    prompts = [estimate_tokens(request) - request.max_tokens for request in requests]
    return Estimate(
        family.name,
        len(family.kept),
        asked + stored,
        min(most, rounds * params.requests_per_round - stored),
        most,
        round(sum(prompts) / len(prompts)) if prompts else 0,
        math.ceil(max(prompts)) + params.max_exemplar_tokens if prompts else 0,
        round(sum(lengths) / len(lengths)) if lengths else max_tokens,
        max_tokens,
    )


def format_estimates(estimates: Sequence[Estimate], budget: Budget, batch: bool) -> str:
    """A table with a line per family, their sum, and what is left of the cap."""
    prices = budget.prices
    lines = [
        f"{'family':24}{'kept':>6}{'stored':>8}{'to send':>8}{'at most':>9}{'tokens':>12}{'at most':>12}"
        + (f"{'US$':>10}{'at most':>10}" if prices else "")
    ]
    total = [0] * 6
    money = [Decimal(0), Decimal(0)]
    for row in estimates:
        likely = row.likely_requests * (row.likely_prompt_tokens + row.likely_completion_tokens)
        most = row.most_requests * (row.most_prompt_tokens + row.most_completion_tokens)
        numbers = [row.kept, row.answers, row.likely_requests, row.most_requests, likely, most]
        usd = row.compute_price(prices, batch) if prices else (Decimal(0), Decimal(0))
        lines.append(_format_line(row.family, numbers, usd if prices else None))
        total = [sum(pair) for pair in zip(total, numbers, strict=True)]
        money = [sum(pair, Decimal(0)) for pair in zip(money, usd, strict=True)]
    lines.append(_format_line("all", total, (money[0], money[1]) if prices else None))
    lines.append("prompt tokens are estimated at four characters each")
    if not prices:
        lines.append("for prices, set teacher.usd_per_million_prompt_tokens and usd_per_million_completion_tokens")
    if budget.max_usd is not None:
        lines.append(f"teacher.max_usd {budget.max_usd}: spent so far {budget.spent:.4f}")
    return "\n".join(lines)


def _format_line(name: str, numbers: Sequence[int], usd: tuple[Decimal, Decimal] | None) -> str:
    kept, stored, likely, most, likely_tokens, most_tokens = numbers
    line = f"{name:24}{kept:6}{stored:8}{likely:8}{most:9}{likely_tokens:12,}{most_tokens:12,}"
    return line + (f"{usd[0]:10.4f}{usd[1]:10.4f}" if usd else "")
