"""The contract `blocks`: writes and parses numbered blocks of Instruction, Input and Output, one for each task.

This is the format of Alpaca's Self-Instruct. A completion prompt ends where the next task begins; a chat model is told
to continue the list. What is no task by the plain labels is read once more by the labels as chat models dress them up
(dressed_labels.py); what is one is left as it is.
"""

import re
from collections.abc import Sequence

from netllama.core.prompt_markup import NO_INPUT, drop_placeholder
from netllama.selfinstruct.dressed_labels import drop_trailing_edges, has_instruction_label, split_blocks, unwrap_fences
from netllama.selfinstruct.exemplars import Example
from netllama.selfinstruct.output_contract import Candidate, Prompt

SEPARATOR = "###"
# A separator, or a numbered instruction in case the teacher forgot the separator. A match begins on the label's own
# line and gives nothing back (`*+`): with `^\s*`, 10,000 line ends in a row took 3.9 s.
_BLOCK_EDGE = re.compile(
    rf"^{re.escape(SEPARATOR)}[^\S\n]*+$|^(?=[^\S\n]*+\d++\s*+\.\s*+Instruction\s*+:)", re.MULTILINE
)
_FIELD = re.compile(r"^[^\S\n]*+(?:\d++\s*+\.\s*+)?(Instruction|Input|Output)\s*+:", re.MULTILINE)
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
        first, *others = _BLOCK_EDGE.split(unwrap_fences(text, SEPARATOR))
        if self._goes_on(first):
            first = f"Instruction:{first}"
        *done, last_piece = (first, *others)
        pieces = [*map(drop_trailing_edges, done), last_piece]
        candidates = [task for piece in pieces if piece.strip() for task in _read_piece(piece)]
        if cut and candidates:
            last = candidates[-1]
            candidates[-1] = Candidate(last.instruction, last.input, last.output, problem=cut)
        return candidates

    def _goes_on(self, first: str) -> bool:
        """Whether the text before the first edge goes on with an instruction, since a completion prompt ends in
        "N. Instruction:"."""
        head, *fields = _FIELD.split(first, maxsplit=1)
        said_again = has_instruction_label(head) or (self.api != "completions" and fields[:1] == ["Instruction"])
        return bool(head.strip()) and not said_again


def format_block(number: int, task: Example) -> str:
    return (
        f"{SEPARATOR}\n{number}. Instruction: {task.instruction}\n"
        f"{number}. Input:\n{task.input or NO_INPUT}\n{number}. Output:\n{task.output}\n"
    )


def _read_piece(piece: str) -> list[Candidate]:
    """The piece as one task by the plain labels, or else the tasks that it holds by dressed ones."""
    parts = _FIELD.split(piece)
    task = _make_candidate(parts[1::2], parts[2::2], piece)
    if not task.problem:
        return [task]
    tasks = [
        _make_candidate(
            [name for name, _ in block.fields], ["\n".join(v) for _, v in block.fields], "\n".join(block.lines)
        )
        for block in split_blocks(piece)
    ]
    return [task] if all(one.problem for one in tasks) else tasks


def _make_candidate(names: Sequence[str], values: Sequence[str], text: str) -> Candidate:
    """The task of these fields, in the order of the text; malformed if it isn't the contract's."""
    if names not in _ORDERS:
        return Candidate(instruction=text.strip(), problem="malformed")
    fields = dict(zip(names, values, strict=True))
    return Candidate(
        instruction=" ".join(fields["Instruction"].split()),
        input=drop_placeholder(fields.get("Input", "").strip()),
        output=fields["Output"].strip(),
    )
