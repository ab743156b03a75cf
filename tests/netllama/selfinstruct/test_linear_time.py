"""Foreign text that makes a pattern go over itself again and again ends in time.

100,000 characters of a kind take at most 0.3 s. Patterns that were quadratic took 4 s (fences) to 6 minutes (blocks).
"""

import time
from collections.abc import Callable

import pytest

from netllama.contamination.normalisation import blot_numbers, list_words, squeeze_text
from netllama.core.markdown import extract_python_blocks, extract_unlabelled_blocks
from netllama.core.prompt_markup import find_prompt_markup
from netllama.novelty.rouge import split_rouge_tokens
from netllama.selfinstruct.block_contract import BlockContract
from netllama.selfinstruct.candidate_filters import FILTERS, Context
from netllama.selfinstruct.json_schema_contract import JsonSchemaContract
from netllama.selfinstruct.output_contract import Candidate
from netllama.selfinstruct.thinking import strip_thinking

SIZE, MOST_SECONDS = 100_000, 3
REPEATED = (
    "\n", " ", " \n", "\r\n", "#", "# ", "##\n", "###\n", "###", "`", "```", "```\n", "``` ", "```text\n", "*", "_",
    "- ", "---\n", "5", "5 ", "5\n", "5.\n", "5. Instruction:", "5. Instruction:\n", "5. Output:\n",
    "**Instruction:**\n", "Instruction\n", "Task 5\n", "Task ", "[", "[{", '{"', '[{"a":', '{"instruction":', "“", "<",
    "<think>", "</think>",
    "</think> ", "`<think>`\n", "<a_", "<|", "<|channel|>", "<|start|>assistant", "assistant", "[INST", "sk-", "/home",
    "-----BEGIN A", "2024-01-01  ", "1.1.1.", "ab:", "0x", "::", "a_", "é", "\u200b",
)  # fmt: skip
CONTEXT = Context("Write tasks.", 1, SIZE, ("image",), frozenset({"scapy"}))


def run_filters(text: str) -> None:
    # Not the two that parse Python: the parser is Python's own.
    names = FILTERS.keys() - {"broken_code", "required_import"}
    for name in sorted(names):
        FILTERS[name](Candidate(text, text, text), CONTEXT)


READERS: dict[str, Callable[[str], object]] = {
    "blocks": lambda text: BlockContract("chat", 4).parse_tasks(text, None),
    "json": lambda text: JsonSchemaContract(["timers"], 4).parse_tasks(text, "truncated"),
    "thinking": strip_thinking,
    "filters": run_filters,
    "markup": find_prompt_markup,
    "python_blocks": extract_python_blocks,
    "unlabelled_blocks": extract_unlabelled_blocks,
    "rouge": split_rouge_tokens,
    "squeezed": squeeze_text,
    "words": list_words,
    "numbers": blot_numbers,
}


@pytest.mark.parametrize("name", READERS)
def test_no_foreign_text_hangs_a_reader(name: str) -> None:
    for repeated in REPEATED:
        text = repeated * (SIZE // len(repeated))
        start = time.process_time()
        READERS[name](f"x\n{text}\nx")
        assert time.process_time() - start < MOST_SECONDS, repr(repeated)
