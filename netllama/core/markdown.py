"""Fenced code blocks of a Markdown text."""

import re
import textwrap
from collections.abc import Iterator

PYTHON = ("python", "py", "python3")
"""What a Python block may be labelled, in lower case."""
_FENCE = "```"
_LABEL = re.compile(r"[ \t]*+([\w+-]*)")


def extract_python_blocks(text: str) -> list[str]:
    """The code of the blocks that are labelled Python, in their order; a block inside a list loses its indent."""
    return [textwrap.dedent(code) for label, code in _find_blocks(text) if label.lower() in PYTHON]


def extract_unlabelled_blocks(text: str) -> list[str]:
    """The code of the blocks without a label, in their order."""
    return [textwrap.dedent(code) for label, code in _find_blocks(text) if not label]


def _find_blocks(text: str) -> Iterator[tuple[str, str]]:
    """(label, which may be empty, and code) of each closed block. One search after another, so the time is linear."""
    end = 0
    while (start := text.find(_FENCE, end)) >= 0:
        line_end = text.find("\n", start)
        close = text.find(_FENCE, line_end)
        if line_end < 0 or close < 0:
            return
        label = _LABEL.match(text, start + len(_FENCE))
        yield label[1] if label else "", text[line_end + 1 : close]
        end = close + len(_FENCE)
