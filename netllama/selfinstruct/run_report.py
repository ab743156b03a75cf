"""What the filter `runs` found, and what mending scripts cost and saved."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from netllama.selfinstruct.rounds import Family
from netllama.selfinstruct.run_checks import RUNS
from netllama.teacher.budget import Prices


def count_runs(families: Sequence[Family], prices: Prices | None) -> dict[str, Any]:
    """Tasks with Python, what was found of each at first and after it was mended, and the price of mending.

    `kept_per_usd` (of all answers, tokens by the million where there are no prices): with the answers that mend, and
    without them and the rows that they saved.
    """
    checks = [family.run_checks for family in families if family.run_checks]
    first = Counter(run.finding for check in checks for run in check.first)
    last = Counter(one.run.finding for check in checks for one in check.last if one.run)
    numbers: dict[str, Any] = {"scripts": first.total(), "found": dict(first)}
    repairs = [response for check in checks for response in check.answers.values()]
    if not repairs:
        return numbers
    kept = [row for family in families for row in family.kept]
    saved = [row for row in kept if row.repairs]
    responses = [response for family in families for response in family.all_responses]
    tokens, all_tokens = (
        sum(one.prompt_tokens + one.completion_tokens for one in answers) for answers in (repairs, responses)
    )
    numbers["found_after_repair"] = dict(last)
    numbers["repair"] = {"answers": len(repairs), "tokens": tokens, "kept": len(saved)}
    if prices:
        paid, all_paid = (
            float(sum(map(prices.price_answer, answers), start=Decimal(0))) for answers in (repairs, responses)
        )
        numbers["repair"]["usd"] = round(paid, 6)
        unit, cost, without = "usd", all_paid, all_paid - paid
    else:
        unit, cost, without = "million_tokens", all_tokens / 1e6, (all_tokens - tokens) / 1e6
    numbers[f"kept_per_{unit}"] = {
        "with_repair": round(len(kept) / cost, 4) if cost else None,
        "without_repair": round((len(kept) - len(saved)) / without, 4) if without else None,
    }
    return numbers


def describe_runs(families: Sequence[Family]) -> str:
    """A line about what the filter found; empty where it is off."""
    if not any(family.run_checks for family in families):
        return ""
    counted = count_runs(families, None)
    found = ", ".join(f"{number} {finding}" for finding, number in sorted(counted["found"].items()))
    line = f"{RUNS}: {counted['scripts']} scripts: {found or 'none'}"
    if repair := counted.get("repair"):
        line += f"; {repair['answers']} answers to mend them saved {repair['kept']} tasks"
    return line
