"""Code points that stand for no character: Unicode keeps 66 for use inside a program (its section 23.7).

A text that is rendered may not hold any, since special tokens are hidden behind two of them
(netllama/rendering/special_tokens.py): whatever reads rows refuses it, with the place of the row.
"""

import re

_ENDS_OF_PLANES = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_NONCHARACTER = re.compile(f"[\ufdd0-\ufdef{_ENDS_OF_PLANES}]")


def find_noncharacter(text: str) -> str:
    """The first one as U+FDD0, and what it is; empty: there is none."""
    found = _NONCHARACTER.search(text)
    return f"U+{ord(found[0]):04X}, which Unicode reserves and no text has" if found else ""


def replace_noncharacters(text: str) -> str:
    """With a question mark for each."""
    return _NONCHARACTER.sub("?", text)
