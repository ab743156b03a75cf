"""What the teacher is asked to write, and its text back into tasks: one interface for every output contract.

`blocks`       numbered blocks (block_contract.py): every teacher can continue them, the smallest included
`json_schema`  a strict JSON schema (json_schema_contract.py): where the provider holds the teacher to one
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from netllama.selfinstruct.exemplars import Example
from netllama.teacher.store import Response

CUT = {"length": "truncated", "content_filter": "content_filter"}
"""Finish reasons that end an answer in the middle of a task, and what that task's problem is called."""


@dataclass(frozen=True)
class Candidate:
    """One task of an answer, or the reason why it is none.

    `malformed`: not in the form asked for; `truncated`: cut by max_tokens; `content_filter`: cut by the provider;
    `refusal`: the teacher declined.
    """

    instruction: str = ""
    input: str = ""
    output: str = ""
    category: str = ""
    problem: str | None = None


class Contract(Protocol):
    wording: str
    """What it adds to the directive: text that must not come back in a task."""

    def asking(self, directive: str, exemplars: Sequence[Example]) -> dict[str, Any]:
        """The fields of a `Request` that hold the text: `prompt`, or `messages` and perhaps `json_schema`."""

    def parse(self, text: str, cut: str | None) -> list[Candidate]:
        """Candidates in the order of the text; `cut` is the problem of the last one when the answer was cut."""


def read_answer(contract: Contract, response: Response) -> list[Candidate]:
    """Every candidate of an answer, at least one: an answer that gave none is counted too."""
    if response.finish_reason == "refusal":
        return [Candidate(instruction=response.text.strip(), problem="refusal")]
    cut = CUT.get(response.finish_reason)
    return contract.parse(response.text, cut) or [Candidate(problem=cut or "malformed")]
