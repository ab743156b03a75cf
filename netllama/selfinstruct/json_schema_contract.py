"""The contract `json_schema`: asks for `{"tasks": [{instruction, input, output, category}]}` and parses it.

It is for providers with structured outputs, which make the teacher follow the schema while it writes. As their strict
mode demands, every key is required and no other key is allowed. The categories are those of the family's seeds. Other
servers take the schema as a hint at most: json_tasks.py finds the tasks in what they write.
"""

import json
from collections.abc import Sequence
from typing import Any

from netllama.core.prompt_markup import NO_INPUT, drop_placeholder
from netllama.selfinstruct.exemplars import Example
from netllama.selfinstruct.json_tasks import find_rows, read_field
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
        found = find_rows(text)
        candidates = [_read_candidate(row) for row in found.rows]
        candidates += [Candidate(instruction=piece, problem="malformed") for piece in found.broken]
        if not candidates or ("{" if cut else '"instruction"') in found.rest:
            candidates.append(Candidate(instruction=found.rest, problem=cut or "malformed"))
        return candidates


def _make_strict(properties: dict[str, Any]) -> dict[str, Any]:
    required = list(properties)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _read_candidate(row: Any) -> Candidate:
    """A task without an input or a category, or with null as such, has an empty one."""
    fields = {name: read_field(row, name) for name in FIELDS} if isinstance(row, dict) else {}
    for name in ("input", "category"):
        if fields.get(name) is None:
            fields[name] = ""
    if not all(isinstance(fields.get(name), str) for name in FIELDS):
        return Candidate(instruction=json.dumps(row, ensure_ascii=False), problem="malformed")
    instruction, task_input, output, category = (fields[name].strip() for name in FIELDS)
    return Candidate(" ".join(instruction.split()), drop_placeholder(task_input), output, category)
