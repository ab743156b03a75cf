"""The judge's text -> what it says of two answers. What can't be read is a problem in words, never a guess."""

from typing import Any, Literal, NamedTuple

from netllama.judging.json_exchange import read_json_answer, read_truth
from netllama.teacher.store import Response

_BETTER: dict[str, Literal["a", "b", "tie"]] = {
    **dict.fromkeys(("a", "answer_a", "answer a"), "a"),
    **dict.fromkeys(("b", "answer_b", "answer b"), "b"),
    **dict.fromkeys(("tie", "equal", "neither", "both"), "tie"),
}


class ReadVerdict(NamedTuple):
    """What one answer of the judge says."""

    facts_a: list[bool]
    facts_b: list[bool]
    """Whether the answer states each key fact."""
    better: Literal["a", "b", "tie"]


def parse_verdict(response: Response, facts: int) -> ReadVerdict:
    """The verdict on a question of so many key facts: that of the last JSON object of its form in the text.

    ValueError with a short reason where there is none.
    """
    return read_json_answer(response, lambda row: _read_object(row, facts), "judge.max_tokens")


def _read_object(row: dict[str, Any], facts: int) -> ReadVerdict:
    better = _BETTER.get(str(row.get("better")).strip().lower())
    if better is None:
        raise ValueError("better is none of a, b and tie")
    return ReadVerdict(_read_facts(row, "facts_a", facts), _read_facts(row, "facts_b", facts), better)


def _read_facts(row: dict[str, Any], name: str, facts: int) -> list[bool]:
    values = row.get(name, [] if facts == 0 else None)
    if not isinstance(values, list) or len(values) != facts:
        raise ValueError(f"{name} does not hold {facts} verdicts")
    read = [read_truth(value) for value in values]
    if None in read:
        raise ValueError(f"{name} holds something other than true and false")
    return [bool(value) for value in read]
