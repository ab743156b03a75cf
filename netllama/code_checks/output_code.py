"""The Python in a task's output: what a reader of it would save as a script and run."""

import re

from netllama.code_tasks.code_extraction import extract_code
from netllama.core.markdown import extract_python_blocks, extract_unlabelled_blocks

_IMPORT = re.compile(
    r"^(?:import[ \t]++[\w.]++(?:[ \t]++as\b.*+|[ \t]*+,.*+)?+|from[ \t]++[\w.]++[ \t]++import\b.*+)$", re.MULTILINE
)
"""What makes text without the label of a Python block one: a line that imports."""


def find_python(output: str) -> str:
    """The script; empty: there is none.

    All blocks that are labelled Python, one after another, since later ones go on from earlier ones; without such, the
    blocks without a label that import something, or the code in the text itself, where a line of it imports something.
    """
    blocks = extract_python_blocks(output)
    if not blocks:
        blocks = [block for block in extract_unlabelled_blocks(output) if _IMPORT.search(block)]
    if not blocks and "```" not in output and _IMPORT.search(output):
        blocks = [extract_code(output)]
    return "\n\n".join(blocks)
