"""What a run would ask and cost, before anything is sent.

What is stored is replayed as a run would replay it; from there on, each family's yield and length of answers so
far (where nothing is known: one kept row a request, answers of max_tokens) say what is likely, and max_requests
and max_tokens what is possible.
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
    """One family: what it has, and what is still to be asked."""

    family: str
    kept: int
    answers: int
    likely_requests: int
    most_requests: int
    likely_prompt_tokens: int
    """Of one request, at four characters a token, as the next three."""
    most_prompt_tokens: int
    """The longest prompt of the next round, as if it had all of its examples once more."""
    likely_completion_tokens: int
    most_completion_tokens: int

    def usd(self, prices: Prices, batch: bool) -> tuple[Decimal, Decimal]:
        """(likely, at most)"""
        likely = (
            prices.price_tokens(self.likely_prompt_tokens, self.likely_completion_tokens, batch) * self.likely_requests
        )
        return likely, prices.price_tokens(
            self.most_prompt_tokens, self.most_completion_tokens, batch
        ) * self.most_requests


def replay(family: Family, store: ResponseStore) -> list[Request]:
    """Judge every round that is stored in full; the requests of the round that is not, [] when the family is done."""
    while not family.done:
        requests = family.next_round()
        answers = [store.find(request) for request in requests]
        if None in answers:
            return requests
        family.judge([answer for answer in answers if answer])
    return []


def estimate(family: Family, store: ResponseStore) -> Estimate:
    requests = replay(family, store)
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


def table(estimates: Sequence[Estimate], budget: Budget, batch: bool) -> str:
    """For people: one line a family, the total, and the cap."""
    prices = budget.prices
    lines = [
        f"{'family':24}{'kept':>6}{'stored':>8}{'to ask':>8}{'at most':>9}{'tokens':>12}{'at most':>12}"
        + (f"{'US$':>10}{'at most':>10}" if prices else "")
    ]
    total = [0] * 6
    money = [Decimal(0), Decimal(0)]
    for row in estimates:
        likely = row.likely_requests * (row.likely_prompt_tokens + row.likely_completion_tokens)
        most = row.most_requests * (row.most_prompt_tokens + row.most_completion_tokens)
        numbers = [row.kept, row.answers, row.likely_requests, row.most_requests, likely, most]
        usd = row.usd(prices, batch) if prices else (Decimal(0), Decimal(0))
        lines.append(_line(row.family, numbers, usd if prices else None))
        total = [sum(pair) for pair in zip(total, numbers, strict=True)]
        money = [sum(pair, Decimal(0)) for pair in zip(money, usd, strict=True)]
    lines.append(_line("all", total, (money[0], money[1]) if prices else None))
    lines.append("tokens of prompts are counted at four characters each")
    if not prices:
        lines.append("no price: set teacher.usd_per_million_prompt_tokens and usd_per_million_completion_tokens")
    if budget.max_usd is not None:
        lines.append(f"teacher.max_usd {budget.max_usd}: spent so far {budget.spent:.4f}")
    return "\n".join(lines)


def _line(name: str, numbers: Sequence[int], usd: tuple[Decimal, Decimal] | None) -> str:
    kept, stored, likely, most, likely_tokens, most_tokens = numbers
    line = f"{name:24}{kept:6}{stored:8}{likely:8}{most:9}{likely_tokens:12,}{most_tokens:12,}"
    return line + (f"{usd[0]:10.4f}{usd[1]:10.4f}" if usd else "")
