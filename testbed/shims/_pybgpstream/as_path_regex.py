"""Translates Cisco regular expressions over AS paths to Python's (libbgpstream's FILTERING, "aspath").

An expression is matched against the path as text, with `_` between hops: "3356_1299_{64500,64501}". `|()[].^$*+?\\`
have their meaning in glibc's POSIX extended expressions; braces stand for themselves; `_` matches either end of the
path, a blank, a brace, a comma or an underscore; a leading `!` negates the expression.
"""

import re

_BOUNDARY = "(^|$|[ {},_])"
_LONGEST = 241  # characters: the library refuses an expression whose POSIX form is longer
_GNU_ESCAPES = {"w": r"\w", "W": r"\W", "s": r"\s", "S": r"\S", "b": r"\b", "B": r"\B", "<": r"\b(?=\w)"}
_GNU_ESCAPES |= {">": r"\b(?<=\w)", "`": r"\A", "'": r"\Z"}
_CLASSES = {"digit": "0-9", "alpha": "A-Za-z", "alnum": "A-Za-z0-9", "space": r"\s", "upper": "A-Z", "lower": "a-z"}
_CLASSES |= {"xdigit": "0-9A-Fa-f", "punct": r"!-/:-@\[-`{-~", "blank": r" \t"}


def compile_expression(text: str) -> tuple["re.Pattern[str]", bool]:
    """(expression, negated). ValueError with the library's message if it refuses the expression."""
    negated = text.startswith("!")
    try:
        return re.compile(_translate_to_python(_translate_to_posix(text[1:] if negated else text)), re.ASCII), negated
    except re.error as error:
        raise ValueError(f"regex error: {_translate_error(str(error))}") from None
    except IndexError:
        raise ValueError("regex error: Trailing backslash") from None


def _translate_to_posix(cisco: str) -> str:
    """The POSIX form: boundaries become groups, back references are renumbered for them, and braces are escaped."""
    out: list[str] = []
    groups: list[int] = []  # Cisco's groups by their number in the POSIX form
    opened = position = 0
    while position < len(cisco):
        if len("".join(out)) > _LONGEST:
            raise ValueError("regex too long")
        char, following = cisco[position], cisco[position + 1 : position + 2]
        position += 1
        if char == "\\" and following:
            position += 1
            if following in "0123456789":
                number = int(following)
                if number > len(groups) or (number and groups[number - 1] > 9):
                    raise ValueError("bad backreference in regex")
                following = str(groups[number - 1]) if number else "0"
            out.append(char + following)
        elif char == "_":
            out.append(_BOUNDARY)
            opened += 1
        elif char in "{}":
            out.append("\\" + char)
        else:
            if char == "(":
                opened += 1
                groups.append(opened)
            out.append(char)
    return "".join(out)


def _translate_to_python(posix: str) -> str:
    """An equivalent expression in Python's notation."""
    out: list[str] = []
    depth = position = 0
    while position < len(posix):
        char = posix[position]
        position += 1
        if char == "[":
            bracket, position = _translate_bracket(posix, position)
            out.append(bracket)
        elif char == "\\":
            escaped = posix[position]
            position += 1
            backreference = escaped in "123456789"
            out.append("\\" + escaped if backreference else _GNU_ESCAPES.get(escaped, re.escape(escaped)))
        elif char == "$":
            out.append(r"\Z")
        elif char == ")" and depth == 0:
            out.append(r"\)")
        else:
            depth += (char == "(") - (char == ")")
            if char == "(" and posix[position : position + 1] in ("?", "*", "+"):
                raise re.error("nothing to repeat")
            out.append(char)
    return "".join(out)


def _translate_bracket(posix: str, position: int) -> tuple[str, int]:
    """The bracket expression that begins at `position`, and the position after it. A backslash in it is a plain
    character.
    """
    start = position
    if posix[position : position + 1] == "^":
        position += 1
    inside: list[str] = []
    while position < len(posix):
        char = posix[position]
        if char == "]" and inside:
            return f"[{posix[start] if posix[start] == '^' else ''}{''.join(inside)}]", position + 1
        name = re.match(r"\[:([a-z]+):\]", posix[position:])
        if name and name[1] in _CLASSES:
            inside.append(_CLASSES[name[1]])
            position += len(name[0])
            continue
        inside.append(char if char == "-" or char.isalnum() else re.escape(char))
        position += 1
    raise re.error("unterminated character set")


def _translate_error(message: str) -> str:
    """The message of glibc's regcomp for the error that Python's re reports as `message`."""
    for part, words in (
        ("unterminated character set", "Unmatched [, [^, [:, [., or [="),
        ("missing ), unterminated subpattern", "Unmatched ( or \\("),
        ("bad character range", "Invalid range end"),
        ("invalid group reference", "Invalid back reference"),
    ):
        if part in message:
            return words
    return "Invalid preceding regular expression"
