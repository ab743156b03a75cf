"""Asks a judge for one JSON object, and reads it out of its answer. What can't be read is a problem in words.

The material is a JSON object, too, so that no text in it can end and go on as the question or as an instruction.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from netllama.core.server_section import ServerParams
from netllama.selfinstruct.thinking import strip_thinking
from netllama.teacher.store import EMBEDDED, Request, Response

R = TypeVar("R")
_DECODER = json.JSONDecoder(strict=False)
_MOST_FAILURES = 64
_SAID = {"true": True, "false": False, "yes": True, "no": False}


def build_json_request(
    server: ServerParams,
    prompt: str,
    material: dict[str, Any],
    *,
    model: str,
    temperature: float | None,
    max_tokens: int,
    draw: str,
) -> Request:
    """`max_tokens`: thinking included."""
    shown = json.dumps(material, ensure_ascii=False, indent=1)
    messages = [{"role": "system", "content": prompt}, {"role": "user", "content": shown}]
    return Request(
        teacher=server.base_url or EMBEDDED,
        model=model,
        api=server.api,
        prompt=f"{prompt}\n\n{shown}\n\nThe JSON object:\n" if server.api == "completions" else None,
        messages=None if server.api == "completions" else messages,
        temperature=temperature,
        top_p=None,
        reasoning_effort=server.reasoning_effort,
        max_tokens=max_tokens,
        service_tier=server.service_tier,
        draw=draw,
    )


def read_json_answer(response: Response, read: Callable[[dict[str, Any]], R], limit: str) -> R:
    """What `read` makes of the last JSON object of the answer that it takes; keys are in lower case.

    ValueError with a short reason where it takes none. `limit`: the param that cuts answers.
    """
    if response.finish_reason == "content_filter":
        raise ValueError("the judge's server withheld an answer")
    problem = "no JSON object in the answer"
    for found in reversed(list(_iter_objects(strip_thinking(response.text)))):
        try:
            return read({key.strip().lower(): value for key, value in found.items()})
        except ValueError as error:
            problem = str(error)
    raise ValueError(f"{problem}; cut at {limit}" if response.finish_reason == "length" else problem)


def read_truth(value: Any) -> bool | None:
    """True or false, in any of the forms in which models write them; None: it is neither, and 1 is not true."""
    if isinstance(value, str):
        return _SAID.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _iter_objects(text: str) -> Iterator[dict[str, Any]]:
    position = failures = 0
    while failures < _MOST_FAILURES and (start := text.find("{", position)) >= 0:
        try:
            value, position = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            position, failures = start + 1, failures + 1
            continue
        yield value
