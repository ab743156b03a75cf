"""Fills wordings with fields, and reads the fields back from the text.

A wording is a text with fields in braces: `{origin} announced {prefix}.` All values are text. The same wording thus
writes a report and says how a program reads it.
"""

import re
import string
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")
Fields = Mapping[str, str]


def draw_number(*key: object) -> int:
    """A number below 2**64 that looks random and is the same on every machine."""
    return int.from_bytes(blake2b("/".join(map(str, key)).encode(), digest_size=8).digest(), "big")


def choose(options: Sequence[T], *key: object) -> T:
    return options[draw_number(*key) % len(options)]


@cache
def list_fields(wording: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in string.Formatter().parse(wording) if name)


def fill_wording(wording: str, fields: Fields) -> str:
    return wording.format_map(fields)


@cache
def compile_wording(wording: str, value: str = ".+?") -> re.Pattern[str]:
    """The wording as a pattern, with a group for each field; one that occurs twice has the same value both times.

    `value` is the pattern of a field's value.
    """
    parts, seen = [], set[str]()
    for literal, name, _, _ in string.Formatter().parse(wording):
        parts.append(re.escape(literal))
        if name:
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{value})")
            seen.add(name)
    return re.compile("".join(parts))


def read_wording(wording: str, text: str) -> dict[str, str] | None:
    """The fields of a text that was written in this wording; None for any other text."""
    found = compile_wording(wording).fullmatch(text)
    return found.groupdict() if found else None


def split_sentences(text: str) -> list[str]:
    """The sentences of a report: one ends in a full stop, the next begins with a capital letter or a digit."""
    return re.split(r"(?<=\.) (?=[A-Z0-9])", text)
