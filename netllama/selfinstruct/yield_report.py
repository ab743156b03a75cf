"""What became of the teacher's answers: yield and price of each family, and the funnel from answers to kept rows."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from statistics import quantiles
from typing import Any

from netllama.selfinstruct.rounds import Family
from netllama.selfinstruct.run_checks import RUNS
from netllama.selfinstruct.run_report import count_runs
from netllama.selfinstruct.second_answers import AGREES, count_findings
from netllama.teacher.budget import Prices
from netllama.teacher.store import Response

PARSER_PROBLEMS = ("malformed", "truncated", "content_filter", "refusal")
"""Problems that the parser finds in a task, before any filter."""
_ADVICE = {
    "malformed": "the teacher does not write the form of generate.output_contract",
    "truncated": "answers are cut: raise teacher.max_tokens",
    "content_filter": "the provider's content filter cuts the answers",
    "refusal": "the teacher refuses: change the family's prompt",
}
_SHOWN_CHARACTERS = 300
"""Of an answer, in an error message."""


def build_yield_report(
    families: Sequence[Family], prices: Prices | None, is_recorded: Callable[[Response], bool]
) -> dict[str, Any]:
    """metrics/generate.json: totals, and the same numbers by family."""
    return {
        **_count_yield(families, prices, is_recorded),
        "family": {family.name: _count_yield([family], prices, is_recorded) for family in families},
    }


def describe_barren(families: Sequence[Family]) -> str:
    """An error message about barren families, or about all where the whole run kept nothing; else an empty string.

    It names the most frequent reason, and shows the beginning of an answer that was rejected for it, as JSON.
    """
    asked = [family for family in families if family.responses]
    nothing = asked and not any(family.kept for family in families)
    barren = asked if nothing else [family for family in families if family.is_barren]
    if not barren:
        return ""
    rejected = [row for family in barren for row in family.rejected]
    answers = {response.key: response for family in barren for response in family.responses}
    reason, number = Counter(row.reason for row in rejected).most_common(1)[0]
    text = next(answers[row.request].text for row in rejected if row.reason == reason)
    shown = json.dumps(text[:_SHOWN_CHARACTERS], ensure_ascii=False) + ("..." if len(text) > _SHOWN_CHARACTERS else "")
    return (
        f"{', '.join(family.name for family in barren)}: nothing kept of {len(answers)} answers; {number} of "
        f"{len(rejected)} tasks are {reason} ({_ADVICE.get(reason, 'a check of filters.enabled')}). One answer: {shown}"
    )


def _count_yield(
    families: Sequence[Family], prices: Prices | None, is_recorded: Callable[[Response], bool]
) -> dict[str, Any]:
    kept = [row for family in families for row in family.kept]
    rejected = Counter(row.reason for family in families for row in family.rejected)
    responses = [response for family in families for response in family.all_responses]
    recorded = sum(map(is_recorded, responses))
    prompt_tokens = sum(response.prompt_tokens for response in responses)
    completion_tokens = sum(response.completion_tokens for response in responses)
    numbers: dict[str, Any] = {
        "kept": len(kept),
        "rejected": rejected.total(),
        "rejected_for": dict(rejected),
        # "asked": sent to the teacher by this run, or by an interrupted run before it.
        "answers": {"replayed": recorded, "asked": len(responses) - recorded},
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "tokens_per_kept_row": _divide(prompt_tokens + completion_tokens, len(kept)),
        "similarity_of_kept": _compute_quantiles([row.nearest_score for row in kept]),
    }
    if any(family.run_checks for family in families):
        numbers[RUNS] = count_runs(families, prices)
    if checks := [family.second_answers for family in families if family.second_answers]:
        answers = [response for check in checks for response in check.answers.values()]
        tokens = sum(response.prompt_tokens + response.completion_tokens for response in answers)
        findings = [finding for check in checks for finding in check.findings]
        numbers[AGREES] = {"answers": len(answers), "tokens": tokens, **count_findings(findings)}
        if prices:
            numbers[AGREES]["usd"] = float(round(sum(map(prices.price_answer, answers), start=Decimal(0)), 6))
    # Only some providers report these.
    if reasoning_tokens := sum(response.reasoning_tokens for response in responses):
        numbers["reasoning_tokens"] = reasoning_tokens
    if cached_tokens := sum(response.cached_tokens for response in responses):
        numbers |= {"cached_tokens": cached_tokens, "cached_share": _divide(cached_tokens, prompt_tokens)}
    if prices:
        usd = sum(map(prices.price_answer, responses), start=Decimal(0))
        numbers |= {"usd": float(round(usd, 6)), "usd_per_kept_row": _divide(float(usd), len(kept))}
    if unreported := sum(bool(response.prompt_bound) for response in responses):
        # Their tokens count as none in the sums of tokens, and as the most that they can be in all sums of dollars.
        numbers["answers"]["without_usage"] = unreported
        if prices:
            numbers["usd_estimated"] = float(round(prices.estimate_unreported(responses)[1], 6))
    return numbers


def describe_findings(families: Sequence[Family]) -> str:
    """A line about what the filter `agrees` found; empty where it is off."""
    checks = [family.second_answers for family in families if family.second_answers]
    if not checks:
        return ""
    counted = count_findings([finding for check in checks for finding in check.findings])
    asked = sum(len(check.answers) for check in checks)
    found = ", ".join(f"{number} {finding.replace('_', ' ')}" for finding, number in sorted(counted["found"].items()))
    notes = len(checks[0].notes)
    against = f"{notes} recorded notes" if notes else "no notes: none are recorded"
    return (
        f"agrees: {counted['tasks']} tasks checked with {asked} answers, against {against}: {found or 'none'}; "
        f"{counted['parse_failures']} comparisons can't be read"
    )


def _divide(amount: float, rows: int) -> float | None:
    """The amount per row; None if there are no rows."""
    return round(amount / rows, 6) if rows else None


def _compute_quantiles(scores: Sequence[float]) -> dict[str, float]:
    """Quantiles of kept rows' ROUGE-L F1 to the nearest row at the time they joined; {} for fewer than two scores."""
    if len(scores) < 2:
        return {}
    cuts = quantiles(scores, n=20, method="inclusive")
    return {"p05": round(cuts[0], 4), "p50": round(cuts[9], 4), "p95": round(cuts[18], 4), "max": max(scores)}


def build_funnel(families: Sequence[Family]) -> list[dict[str, Any]]:
    """Rows of the plot: how many tasks are left after each check, from all tasks written to those kept."""
    rejected = Counter(row.reason for family in families for row in family.rejected)
    left = rejected.total() + sum(len(family.kept) for family in families)
    steps = [{"step": "written", "tasks": left}]
    filters = dict.fromkeys(name for family in families for name in family.pool.filters)
    for name in (*PARSER_PROBLEMS, *filters, RUNS, AGREES):
        left -= rejected[name]
        if rejected[name]:
            steps.append({"step": f"not {name}", "tasks": left})
    return [*steps, {"step": "kept", "tasks": left}]
