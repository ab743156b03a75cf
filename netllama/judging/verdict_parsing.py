"""The judge's text -> what it says of two answers. What can't be read is a problem in words, never a guess."""

import json
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from netllama.selfinstruct.thinking import strip_thinking
from netllama.teacher.store import Response

_DECODER = json.JSONDecoder(strict=False)
_MOST_FAILURES = 64
_BETTER: dict[str, Literal["a", "b", "tie"]] = {
    **dict.fromkeys(("a", "answer_a", "answer a"), "a"),
    **dict.fromkeys(("b", "answer_b", "answer b"), "b"),
    **dict.fromkeys(("tie", "equal", "neither", "both"), "tie"),
}
_SAID = {True: True, False: False, "true": True, "false": False, "yes": True, "no": False}


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
    if response.finish_reason == "content_filter":
        raise ValueError("the judge's server withheld an answer")
    problem = "no JSON object in the answer"
    for found in reversed(list(_iter_objects(strip_thinking(response.text)))):
        try:
            return _read_object(found, facts)
        except ValueError as error:
            problem = str(error)
    raise ValueError(f"{problem}; cut at judge.max_tokens" if response.finish_reason == "length" else problem)


def _read_object(found: dict[str, Any], facts: int) -> ReadVerdict:
    row = {key.strip().lower(): value for key, value in found.items()}
    better = _BETTER.get(str(row.get("better")).strip().lower())
    if better is None:
        raise ValueError("better is none of a, b and tie")
    return ReadVerdict(_read_facts(row, "facts_a", facts), _read_facts(row, "facts_b", facts), better)


def _read_facts(row: dict[str, Any], name: str, facts: int) -> list[bool]:
    values = row.get(name, [] if facts == 0 else None)
    if not isinstance(values, list) or len(values) != facts:
        raise ValueError(f"{name} does not hold {facts} verdicts")
    read = [_SAID.get(value.strip().lower() if isinstance(value, str) else value) for value in map(_as_key, values)]
    if None in read:
        raise ValueError(f"{name} holds something other than true and false")
    return [bool(value) for value in read]


def _as_key(value: Any) -> str | bool:
    """A value that can be looked up: 1 is not true."""
    return value if isinstance(value, str | bool) else ""


def _iter_objects(text: str) -> Iterator[dict[str, Any]]:
    position = failures = 0
    while failures < _MOST_FAILURES and (start := text.find("{", position)) >= 0:
        try:
            value, position = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            position, failures = start + 1, failures + 1
            continue
        yield value
