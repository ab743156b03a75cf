"""The teacher's text back into tasks: numbered blocks, each accepted whole or rejected with its reason."""

import re
from dataclasses import dataclass

from stages.selfinstruct.prompting import NO_INPUT, SEPARATOR

_BLOCK_EDGE = re.compile(rf"^{re.escape(SEPARATOR)}\s*$", re.MULTILINE)
_FIELD = re.compile(r"^\s*(?:\d+\s*\.\s*)?(Instruction|Input|Output)\s*:", re.MULTILINE)
_ORDERS = (["Instruction", "Input", "Output"], ["Instruction", "Output"])


@dataclass(frozen=True)
class Candidate:
    """One block: its fields, or the reason why it is not a task (`malformed`, `truncated`)."""

    instruction: str = ""
    input: str = ""
    output: str = ""
    problem: str | None = None


def parse_blocks(text: str, truncated: bool) -> list[Candidate]:
    """Candidates in the order of the text; with `truncated`, the last one was cut by the token limit."""
    pieces = _BLOCK_EDGE.split(text)
    # The prompt of a completion ends in "N. Instruction:", so the first piece may begin with its content.
    if pieces[0].strip() and not _begins_with_field(pieces[0]):
        pieces[0] = f"Instruction:{pieces[0]}"
    candidates = [_parse(piece) for piece in pieces if piece.strip()]
    if truncated and candidates:
        last = candidates[-1]
        candidates[-1] = Candidate(last.instruction, last.input, last.output, problem="truncated")
    return candidates


def _begins_with_field(piece: str) -> bool:
    return _FIELD.match(piece.lstrip("\n")) is not None


def _parse(piece: str) -> Candidate:
    parts = _FIELD.split(piece)
    names, values = parts[1::2], [value.strip() for value in parts[2::2]]
    if names not in _ORDERS:
        return Candidate(instruction=piece.strip(), problem="malformed")
    fields = dict(zip(names, values, strict=True))
    task_input = fields.get("Input", "")
    return Candidate(
        instruction=" ".join(fields["Instruction"].split()),
        input="" if task_input.strip("<>").lower() == NO_INPUT.strip("<>") else task_input,
        output=fields["Output"],
    )
