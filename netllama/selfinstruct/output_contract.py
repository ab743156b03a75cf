"""An output contract tells the teacher in which form to write tasks, and parses tasks from its text.

`blocks`       numbered blocks (block_contract.py): every teacher can continue them, even the smallest
`json_schema`  a strict JSON schema (json_schema_contract.py): for providers that make the teacher follow one
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

from netllama.selfinstruct.exemplars import Example
from netllama.selfinstruct.thinking import strip_thinking
from netllama.teacher.store import Response

CUT_PROBLEMS = {"length": "truncated", "content_filter": "content_filter"}
"""Finish reasons that cut an answer off in the middle of a task, and the names of that task's problem. Every other one
than `stop` is as `length`."""


@dataclass(frozen=True)
class Candidate:
    """One task of an answer, or a part of the answer that is not a task because of its `problem`.

    `malformed`: not in the form of the contract; `truncated`: cut off by max_tokens; `content_filter`: cut off by the
    provider; `refusal`: the teacher declined.
    """

    instruction: str = ""
    input: str = ""
    output: str = ""
    category: str = ""
    problem: str | None = None


class Prompt(TypedDict, total=False):
    """The fields of a `Request` that hold its text: `prompt`, or `messages` and perhaps `json_schema`."""

    prompt: str
    messages: list[dict[str, str]]
    json_schema: dict[str, Any]


class OutputContract(Protocol):
    wording: str
    """What the contract adds to the directive. The filter `prompt_leak` rejects tasks that repeat it."""

    def build_prompt(self, directive: str, exemplars: Sequence[Example]) -> Prompt:
        """Ask for new tasks like `exemplars`, in the contract's form."""

    def parse_tasks(self, text: str, cut: str | None) -> list[Candidate]:
        """Candidates in the order of the text. If the answer was cut off, `cut` is the problem of the last one."""


def read_candidates(contract: OutputContract, response: Response) -> list[Candidate]:
    """All candidates of an answer, at least one: an answer without any task counts as one candidate with a problem."""
    if response.finish_reason == "refusal":
        return [Candidate(instruction=response.text.strip(), problem="refusal")]
    cut = None if response.finish_reason == "stop" else CUT_PROBLEMS.get(response.finish_reason, "truncated")
    text = strip_thinking(response.text)
    if not text.strip() and response.text.strip():
        return [Candidate(instruction=response.text.strip(), problem=cut or "truncated")]  # a draft and no answer
    return contract.parse_tasks(text, cut) or [Candidate(problem=cut or "malformed")]


def read_whole_text(response: Response) -> str:
    """The text of an answer, without drafts; empty where it was cut or refused: half of it is no use."""
    return strip_thinking(response.text).strip() if response.finish_reason == "stop" else ""
