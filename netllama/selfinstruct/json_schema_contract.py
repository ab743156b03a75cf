"""The contract `json_schema`: asks for `{"tasks": [{instruction, input, output, category}]}` and parses it.

It is for providers with structured outputs, which make the teacher follow the schema while it writes. As their strict
mode demands, every key is required and no other key is allowed. The categories are those of the family's seeds.
"""

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import pydantic_core

from netllama.core.prompt_markup import NO_INPUT, drop_placeholder
from netllama.selfinstruct.exemplars import Example
from netllama.selfinstruct.output_contract import Candidate, Prompt

FIELDS = ("instruction", "input", "output", "category")


class JsonSchemaContract:
    """For the chat API."""

    def __init__(self, categories: Sequence[str], tasks_per_request: int) -> None:
        text = {"type": "string"}
        task = {"instruction": text, "input": text, "output": text, "category": text | {"enum": list(categories)}}
        self.wording = f"Write {tasks_per_request} new tasks that go on from these examples, as one JSON object:"
        self.schema = _make_strict({"tasks": {"type": "array", "items": _make_strict(task)}})

    def build_prompt(self, directive: str, exemplars: Sequence[Example]) -> Prompt:
        examples = [{name: getattr(task, name) for name in FIELDS} for task in exemplars]
        user = (
            f"{json.dumps({'tasks': examples}, ensure_ascii=False, indent=1)}\n\n{self.wording} an empty string as "
            f"input where the directions say {NO_INPUT}, and the category that fits best."
        )
        return {
            "messages": [{"role": "system", "content": directive.strip()}, {"role": "user", "content": user}],
            "json_schema": self.schema,
        }

    def parse_tasks(self, text: str, cut: str | None) -> list[Candidate]:
        """Reads a cut answer up to the cut: the tasks before it are complete, and paid for."""
        try:
            rows = pydantic_core.from_json(text, allow_partial=bool(cut))["tasks"]
        except (ValueError, TypeError, KeyError):
            rows = None
        if not isinstance(rows, list):
            return [Candidate(instruction=text.strip(), problem=cut or "malformed")]
        candidates = [_read_candidate(row) for row in rows]
        if cut and _has_incomplete_task(text) and candidates:
            last = candidates[-1]
            candidates[-1] = Candidate(last.instruction, last.input, last.output, last.category, problem=cut)
        return candidates


def _make_strict(properties: dict[str, Any]) -> dict[str, Any]:
    required = list(properties)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _has_incomplete_task(text: str) -> bool:
    """False if only the ends of the list and of the object around the tasks are missing."""
    for end in ("", "}", "]}"):
        with contextlib.suppress(ValueError):
            pydantic_core.from_json(text.rstrip(" \n\r\t,") + end)
            return False
    return True


def _read_candidate(row: Any) -> Candidate:
    if not isinstance(row, dict) or any(not isinstance(row.get(name), str) for name in FIELDS):
        return Candidate(instruction=json.dumps(row, ensure_ascii=False), problem="malformed")
    instruction, task_input, output, category = (row[name].strip() for name in FIELDS)
    return Candidate(" ".join(instruction.split()), drop_placeholder(task_input), output, category)
