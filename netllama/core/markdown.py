"""Fenced code blocks of a Markdown text."""

import re
import textwrap

PYTHON = ("python", "py", "python3")
"""What a Python block may be labelled, in lower case."""
FENCE = re.compile(r"```[ \t]*([\w+-]*)[^\n]*\n(.*?)```", re.DOTALL)
"""A closed block: its label, which may be empty, and its code."""


def extract_python_blocks(text: str) -> list[str]:
    """The code of the blocks that are labelled Python, in their order; a block inside a list loses its indent."""
    return [textwrap.dedent(code) for label, code in FENCE.findall(text) if label.lower() in PYTHON]


def extract_unlabelled_blocks(text: str) -> list[str]:
    """The code of the blocks without a label, in their order."""
    return [textwrap.dedent(code) for label, code in FENCE.findall(text) if not label]
