"""A model's answer -> the script in it.

The last closed fenced block counts: what is labelled Python, else what has no label. An answer without one is code
from its first line that looks like code to its last, and so is a block that the end of the answer cuts off.
"""

import re

from netllama.core.markdown import extract_python_blocks, extract_unlabelled_blocks

# Possessive, so that a long line takes one pass.
_STATEMENT = re.compile(
    r"""(?:
        (?:import|from)\s++[\w.]++(?:\s++(?:import|as)\b.*+|\s*+,.*+|\s*+(?:\#.*+)?)$   # import x; from x import y
      | (?:async\s++)?(?:def|class)\s++\w++\s*+[(:\[]
      | (?:async\s++)?(?:for|with|while|if)\s[^:]*+:
      | try\s*+: | @[\w.]++
      | [^\W\d]\w*+(?:\.\w++|\[[^\]]*+\])*+\s*+(?:,\s*+[^\W\d]\w*+\s*+)*+(?:=(?!=)|[-+*/|&]=)
      | [^\W\d]\w*+(?:\.\w++|\[[^\]]*+\])*+\(                                                        # call(
    )""",
    re.VERBOSE,
)
_CONTINUATION = re.compile(
    r"[ \t]++\S|(?:raise|assert|del|pass)\b|[\])}]|(?:elif|else|except|finally)\b[^:]*+:|\"\"\"|'''"
)


def extract_code(completion: str) -> str:
    """The script in what a model wrote; empty: there is none. Pass the completion without its prompt."""
    blocks = extract_python_blocks(completion) or extract_unlabelled_blocks(completion)
    return blocks[-1] if blocks else _extract_unfenced(completion)


def _extract_unfenced(text: str) -> str:
    lines = text.splitlines()
    start = end = 0
    inside = False
    for number, line in enumerate(lines):
        if _STATEMENT.match(line):
            if not inside:
                start, inside = number, True
            end = number + 1
        elif inside and _CONTINUATION.match(line):
            end = number + 1
    return "\n".join([*lines[start:end], ""]) if inside else ""
