"""Rows of the pool for tests that are not about where they come from."""

from typing import Any

from netllama.core.records import GeneratedInstruction

PROVENANCE: dict[str, Any] = {
    "round": 0,
    "slot": 0,
    "exemplars": ["seed-001"],
    "request": "ab12",
    "model": "test",
    "nearest": None,
    "nearest_score": 0.25,
}


def generated(id: str, family: str, instruction: str, output: str = "done", **changes: Any) -> GeneratedInstruction:
    """A row that a teacher wrote, with no input and the provenance above, and `changes`."""
    texts = {"instruction": instruction, "input": "", "output": output}
    return GeneratedInstruction.model_validate({"id": id, "family": family} | texts | PROVENANCE | changes)
