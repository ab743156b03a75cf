"""The judge on both orders of a pair of answers, taken together: what both orders say counts, and nothing else."""

from collections.abc import Sequence
from typing import Literal

from netllama.core.records import Question, Record
from netllama.judging.judge_requests import ORDERS, Side
from netllama.judging.verdict_parsing import parse_verdict
from netllama.teacher.store import Response

Preference = Literal["base", "tuned", "tie", ""]
"""Empty: not known."""


class OrderVerdict(Record):
    """What the judge said where the answer of `shown_first` was answer_a."""

    shown_first: Side
    preferred: Preference
    base_facts: list[bool]
    """Whether the base's answer states each key fact; empty where the judge can't be read."""
    tuned_facts: list[bool]
    problem: str
    """Why the judge can't be read; empty: it can."""


class PairVerdict(Record):
    """A line of results/verdicts.jsonl: one question."""

    item: str
    family: str
    cluster: str
    judge: str
    """The model, as its server names it."""
    orders: list[OrderVerdict]
    preferred: Preference
    """What both orders say; a tie where they disagree; empty where one of them can't be read."""
    base_facts: list[bool]
    """The facts that both orders find stated; empty where one of them can't be read."""
    tuned_facts: list[bool]

    @property
    def is_read(self) -> bool:
        return not any(order.problem for order in self.orders)

    @property
    def orders_disagree(self) -> bool:
        """On which answer is better."""
        return self.is_read and len({order.preferred for order in self.orders}) > 1


def judge_pair(question: Question, responses: Sequence[Response]) -> PairVerdict:
    """`responses`: the answers to the requests of judge_requests.py, in their order."""
    orders = [_read_order(question, *each) for each in zip(ORDERS, responses, strict=True)]
    first, second = orders
    is_read = not (first.problem or second.problem)
    agreed: Preference = first.preferred if first.preferred == second.preferred else "tie"
    return PairVerdict(
        item=question.id,
        family=question.family,
        cluster=question.cluster,
        judge=responses[0].model,
        orders=orders,
        preferred=agreed if is_read else "",
        base_facts=_find_agreed(first.base_facts, second.base_facts) if is_read else [],
        tuned_facts=_find_agreed(first.tuned_facts, second.tuned_facts) if is_read else [],
    )


def _read_order(question: Question, first: Side, response: Response) -> OrderVerdict:
    try:
        found = parse_verdict(response, len(question.key_facts))
    except ValueError as error:
        return OrderVerdict(shown_first=first, preferred="", base_facts=[], tuned_facts=[], problem=str(error))
    names: dict[str, Preference] = {"a": first, "b": "tuned" if first == "base" else "base", "tie": "tie"}
    base, tuned = (found.facts_a, found.facts_b) if first == "base" else (found.facts_b, found.facts_a)
    return OrderVerdict(
        shown_first=first, preferred=names[found.better], base_facts=base, tuned_facts=tuned, problem=""
    )


def _find_agreed(one: Sequence[bool], other: Sequence[bool]) -> list[bool]:
    return [a and b for a, b in zip(one, other, strict=True)]
