"""The contract `blocks`: writes and parses numbered blocks of Instruction, Input and Output, one for each task.

This is the format of Alpaca's Self-Instruct. A completion prompt ends where the next task begins; a chat model is told
to continue the list.
"""

import re
from collections.abc import Sequence

from netllama.core.prompt_markup import NO_INPUT, drop_placeholder
from netllama.selfinstruct.exemplars import Example
from netllama.selfinstruct.output_contract import Candidate, Prompt

SEPARATOR = "###"
# A separator, or a numbered instruction in case the teacher forgot the separator.
_BLOCK_EDGE = re.compile(rf"^{re.escape(SEPARATOR)}\s*$|^(?=\s*\d+\s*\.\s*Instruction\s*:)", re.MULTILINE)
_FIELD = re.compile(r"^\s*(?:\d+\s*\.\s*)?(Instruction|Input|Output)\s*:", re.MULTILINE)
_ORDERS = (["Instruction", "Input", "Output"], ["Instruction", "Output"])


class BlockContract:
    """For the completions API (`api: completions`) or the chat API (`api: chat`)."""

    def __init__(self, api: str, tasks_per_request: int) -> None:
        self.api = api
        self.wording = (
            ""
            if api == "completions"
            else f"Continue it with {tasks_per_request} new tasks, in exactly this format: a line `{SEPARATOR}`, then"
        )

    def build_prompt(self, directive: str, exemplars: Sequence[Example]) -> Prompt:
        listed = "".join(format_block(number, task) for number, task in enumerate(exemplars, start=1))
        following = len(exemplars) + 1
        if self.api == "completions":
            return {"prompt": f"{directive.strip()}\n\n{listed}{SEPARATOR}\n{following}. Instruction:"}
        user = (
            f"The list so far:\n\n{listed}\n{self.wording} `{following}. Instruction:`, "
            f"`{following}. Input:` ({NO_INPUT} when none is needed) and `{following}. Output:`, and so on."
        )
        # The directive comes first, so that a provider's prompt cache can hold it.
        return {"messages": [{"role": "system", "content": directive.strip()}, {"role": "user", "content": user}]}

    def parse_tasks(self, text: str, cut: str | None) -> list[Candidate]:
        pieces = _BLOCK_EDGE.split(text)
        # A completion prompt ends in "N. Instruction:", so the first piece may begin with the instruction itself.
        if pieces[0].strip() and not _FIELD.match(pieces[0].lstrip("\n")):
            pieces[0] = f"Instruction:{pieces[0]}"
        candidates = [_parse_block(piece) for piece in pieces if piece.strip()]
        if cut and candidates:
            last = candidates[-1]
            candidates[-1] = Candidate(last.instruction, last.input, last.output, problem=cut)
        return candidates


def format_block(number: int, task: Example) -> str:
    return (
        f"{SEPARATOR}\n{number}. Instruction: {task.instruction}\n"
        f"{number}. Input:\n{task.input or NO_INPUT}\n{number}. Output:\n{task.output}\n"
    )


def _parse_block(piece: str) -> Candidate:
    parts = _FIELD.split(piece)
    names, values = parts[1::2], [value.strip() for value in parts[2::2]]
    if names not in _ORDERS:
        return Candidate(instruction=piece.strip(), problem="malformed")
    fields = dict(zip(names, values, strict=True))
    return Candidate(
        instruction=" ".join(fields["Instruction"].split()),
        input=drop_placeholder(fields.get("Input", "")),
        output=fields["Output"],
    )
