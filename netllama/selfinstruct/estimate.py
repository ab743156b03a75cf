"""Estimates how many requests a run would send and what they would cost, before anything is sent.

Rounds whose answers are stored are judged first, as a run would judge them. From there on, a family's yield, mean
answer length and cached share so far give the likely figures (without any answer: one kept row per request, answers of
max_tokens, and the opening of all prompts in the provider's cache once it has been sent); max_requests, max_tokens and
max_reasoning_tokens give the upper bounds.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from netllama.selfinstruct.rounds import Family
from netllama.teacher.budget import BATCH, Budget, Prices, Usage
from netllama.teacher.rate_limiter import estimate_tokens
from netllama.teacher.store import Request, Response, ResponseStore

SHORTEST_CACHED = 1024
"""Tokens of the shortest beginning in the prompt cache of OpenAI (platform.openai.com/docs/guides/prompt-caching)."""


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

    likely_cached_tokens: int = 0
    """Of the prompt, per request: what the provider has in its cache."""

    @property
    def likely_tokens(self) -> int:
        return self.likely_requests * (self.likely_prompt_tokens + self.likely_completion_tokens)

    @property
    def most_tokens(self) -> int:
        return self.most_requests * (self.most_prompt_tokens + self.most_completion_tokens)

    def compute_price(self, prices: Prices, tier: str) -> tuple[Decimal, Decimal]:
        """US dollars (likely, at most) at `tier`, one of `budget.TIER_FACTORS` or the standard one.

        The first request writes the cache. At most, every request writes all of its prompt and reads nothing. Of a
        batch, no hits are expected: its requests run at any time and in any order.
        """
        cached = 0 if tier == BATCH else self.likely_cached_tokens
        prompt, completion = self.likely_prompt_tokens, self.likely_completion_tokens
        likely = prices.price_tokens(Usage(prompt, completion, cached=cached), tier) * max(self.likely_requests - 1, 0)
        if self.likely_requests:
            likely += prices.price_tokens(Usage(prompt, completion, written=cached), tier)
        written = self.most_prompt_tokens if (prices.cache_write or 0) > prices.prompt else 0
        most = Usage(self.most_prompt_tokens, self.most_completion_tokens, written=written)
        return likely, prices.price_tokens(most, tier) * self.most_requests


def judge_stored_rounds(family: Family, store: ResponseStore) -> list[Request]:
    """Judge the rounds that are stored in full; returns the requests of the next one, [] if the family is done.

    In a round of which not all that `runs` or `agrees` asks is stored, the returned requests are that filter's.
    """
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
    asked, params, teacher = len(family.responses), family.params, family.teacher
    if family.is_checking:  # all of its round is answered; what the next one asks is as long as that
        requests, stored = family.draw_round(), 0
    else:
        stored = sum(store.find(request) is not None for request in requests)
    most = params.max_requests - asked - stored if requests else 0
    kept = len(family.kept) + sum(check.in_hand for check in (family.run_checks, family.second_answers) if check)
    missing = params.num_instructions_to_generate - kept
    rate = kept / asked if kept else 1.0
    rounds = math.ceil(missing / rate / params.requests_per_round) if requests else 0
    reported = list_reported(family.responses)
    lengths = [response.completion_tokens for response in reported]
    prompts = [estimate_tokens(request) - request.max_tokens for request in requests]
    return Estimate(
        family.name,
        len(family.kept),
        asked + stored,
        min(most, rounds * params.requests_per_round - stored),
        most,
        round(sum(prompts) / len(prompts)) if prompts else 0,
        math.ceil(max(prompts)) + params.max_exemplar_tokens if prompts else 0,
        round(sum(lengths) / len(lengths)) if lengths else teacher.max_tokens,
        teacher.max_answer_tokens,
        _estimate_cached_tokens(family, reported) if prompts else 0,
    )


def list_reported(responses: Iterable[Response]) -> list[Response]:
    """Those whose tokens the server reported: from the others nothing can be learned of the next answers' price."""
    return [response for response in responses if not response.prompt_bound]


def _estimate_cached_tokens(family: Family, reported: Sequence[Response]) -> int:
    """Prompt tokens per request that the provider will have in its cache: the mean so far, or else the opening."""
    if reported:
        return round(sum(response.cached_tokens for response in reported) / len(reported))
    opening = len(family.opening) // 4
    return opening if family.teacher.prompt_cache and opening >= SHORTEST_CACHED else 0


def format_estimates(estimates: Sequence[Estimate], budget: Budget, tier: str) -> str:
    """A table with a line per family, their sum, the price at each tier, and what is left of the cap.

    `tier`: the one that the settings choose, as in `Estimate.compute_price`.
    """
    prices = budget.prices
    lines = [
        f"{'family':24}{'kept':>6}{'stored':>8}{'to send':>8}{'at most':>9}{'tokens':>13}{'at most':>15}{'cached':>8}"
        + (f"{'US$':>10}{'at most':>10}" if prices else "")
    ]
    for name, rows in [*((row.family, [row]) for row in estimates), ("all", list(estimates))]:
        prompt = sum(row.likely_requests * row.likely_prompt_tokens for row in rows)
        cached = sum(max(row.likely_requests - 1, 0) * row.likely_cached_tokens for row in rows)
        lines.append(
            f"{name:24}{sum(row.kept for row in rows):6}{sum(row.answers for row in rows):8}"
            f"{sum(row.likely_requests for row in rows):8}{sum(row.most_requests for row in rows):9}"
            f"{sum(row.likely_tokens for row in rows):13,}{sum(row.most_tokens for row in rows):15,}"
            f"{cached / prompt if prompt else 0:8.0%}" + (_format_price(rows, prices, tier) if prices else "")
        )
    if prices:
        lines.append(f"{'US$ in all':24}{'likely':>10}{'at most':>10}")
        for name, other in (("live", ""), ("flex", "flex"), ("batch", BATCH)):
            chosen = "  <- these settings" if other == tier else ""
            lines.append(f"{name:24}{_format_price(estimates, prices, other)}{chosen}")
    lines.append("prompt tokens are estimated at four characters each; cached: their share in the provider's cache")
    if not prices:
        lines.append("for prices, set teacher.usd_per_million_prompt_tokens and usd_per_million_completion_tokens")
    if budget.max_usd is not None:
        others = f", on other data {budget.spent_elsewhere:.4f}" if budget.spent_elsewhere else ""
        lines.append(f"teacher.max_usd {budget.max_usd}: spent so far {budget.spent:.4f}{others}")
    return "\n".join(lines)


def _format_price(estimates: Sequence[Estimate], prices: Prices, tier: str) -> str:
    """Two columns: US dollars, likely and at most."""
    usd = [estimate.compute_price(prices, tier) for estimate in estimates]
    return "".join(f"{sum(column, Decimal(0)):10.4f}" for column in zip(*usd, strict=True))
