"""The options of a question in the shapes that people write them, as plain texts and, where they have some, labels.

"options": ["a) one", "b) two"]      "choices": {"A": "one", "B": "two"}      "option 1": "one", "option 2": "two"
"options": ["one", "two"]            "choices": {"text": ["one", "two"], "label": ["A", "B"]}
"A": "one", "B": "two"               "options": "A. one\\nB. two", or such lines at the end of the question
"""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netllama.core.records import LETTERS

LISTS = ("options", "choices")
_NUMBERED = re.compile(r"(?:option|choice)_?(\d{1,2}|(?<=_)[a-z]|[a-j])")
_LABELLED = re.compile(r"\s*\(?([A-Za-z]|\d{1,2})[).:]\s+(\S.*)", re.DOTALL)


@dataclass(frozen=True)
class NamedOptions:
    """Options in their order. `labels` is empty if they have none; else lower-case letters or numbers, from a or 1."""

    texts: list[str]
    labels: list[str]

    def find_text(self, said: str) -> int | None:
        """The place of the option with this text, or else of the only one that differs in case or a full stop alone."""
        for fold in (_collapse_spaces, _fold_text):
            places = [place for place, text in enumerate(self.texts) if fold(text) == fold(said)]
            if len(places) == 1:
                return places[0]
        return None


def _collapse_spaces(text: str) -> str:
    return " ".join(text.split())


def _fold_text(text: str) -> str:
    return _collapse_spaces(text).casefold().removesuffix(".").rstrip()


def read_options(row: Mapping[str, Any]) -> tuple[NamedOptions | None, set[str]]:
    """The options of a row with normalised keys, and the keys that they stand under; None: it has none.

    Raises ValueError with the reason why they can't be taken.
    """
    labels = {key: match[1] for key in row if (match := _NUMBERED.fullmatch(key))}
    if {"a", "b"} <= row.keys():
        labels |= {key: key for key in row if key in [*LETTERS.lower()]}
    numbered = {label: key for key, label in labels.items() if row[key] not in (None, "")}
    lists = [key for key in LISTS if row.get(key) not in (None, [], {}, "")]
    used = {*labels, *(key for key in LISTS if key in row)}
    if len(lists) + bool(numbered) > 1:
        raise ValueError(f"options stand in {' and in '.join([*lists, *list(numbered.values())[:1]])}; keep one")
    if numbered:
        found = _read_labelled({label: row[key] for label, key in numbered.items()})
    elif not lists:
        return None, used
    else:
        found = _read_value(lists[0], row[lists[0]])
    check_options(found)
    return found, used


def find_options(text: str) -> tuple[str, NamedOptions | None]:
    """A question whose last lines are options (`A. one`, `B. two`): what stands before them, and they.

    None: it has no two such lines in order, or nothing before them. An open question may end so, too.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    first = len(lines)
    while first and _LABELLED.fullmatch(lines[first - 1]):
        first -= 1
    labels = [match[1].lower() for line in lines[first:] if (match := _LABELLED.fullmatch(line))]
    if first == 0 or len(labels) < 2 or _order_labels(labels) != labels:
        return text, None
    return "\n".join(lines[:first]).strip(), _strip_labels(lines[first:])


def check_options(found: NamedOptions) -> None:
    """Raises ValueError if a question can't have these options."""
    if not 2 <= len(found.texts) <= len(LETTERS):
        raise ValueError(
            f"{len(found.texts)} option{'s' * (len(found.texts) != 1)}; a question has 2 to {len(LETTERS)}"
        )
    if len({_collapse_spaces(text) for text in found.texts}) < len(found.texts):
        raise ValueError("two options are equal; change one")


def _read_value(key: str, value: object) -> NamedOptions:
    if isinstance(value, Mapping):
        folded = {str(name).strip().lower(): inner for name, inner in value.items()}
        texts, labels = folded.get("text"), folded.get("label")
        if set(folded) == {"text", "label"} and isinstance(texts, list) and isinstance(labels, list):
            if len(texts) != len(labels):
                raise ValueError(f"{key}: {len(texts)} texts and {len(labels)} labels")
            return _read_labelled(dict(zip(map(str, labels), texts, strict=True)))
        return _read_labelled(value)
    if isinstance(value, str):
        value = _read_text(key, value)
    if isinstance(value, list):
        return _strip_labels([_as_text(option, f"{key}[{place}]") for place, option in enumerate(value)])
    raise ValueError(f"{key} is neither a list nor an object")


def _read_text(key: str, text: str) -> list[object]:
    """The options of a text: a list as JSON and Python write it, or a line each with its label."""
    if text.lstrip().startswith("["):
        try:
            listed = ast.literal_eval(text.strip())  # reads lists of JSON texts, too
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            listed = None
        if isinstance(listed, list):
            return listed
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2 or not all(map(_LABELLED.fullmatch, lines)):
        raise ValueError(f"{key} is a text; write a list, or a line each, its letter before it: A. ..., B. ...")
    return [*lines]


def _read_labelled(options: Mapping[Any, object]) -> NamedOptions:
    """Options by label: a, b, c or 1, 2, 3 without a gap, in whatever order they stand."""
    own = {re.sub(r"[^a-z0-9]", "", str(label).lower()): text for label, text in options.items()}
    if not (order := _order_labels(list(own))) or len(own) < len(options):
        raise ValueError(f"labels of options are {', '.join(map(str, options))}; write A, B, C ... or 1, 2, 3 ...")
    return NamedOptions([_as_text(own[label], f"option {label}") for label in order], order)


def _strip_labels(texts: list[str]) -> NamedOptions:
    """`a) one`, `(b) two`, `3. three`: labels go if all options have one, in order; else it is unclear."""
    matches = [match for text in texts if (match := _LABELLED.fullmatch(text))]
    labels = [match[1].lower() for match in matches]
    if not matches:
        return NamedOptions(texts, [])
    if len(matches) < len(texts) or _order_labels(labels) != labels:
        raise ValueError(f"some options begin with a label and some don't, or not in order: {', '.join(labels)}")
    return NamedOptions([match[2].strip() for match in matches], labels)


def _order_labels(labels: Sequence[str]) -> list[str]:
    """The labels in their order if they are the first letters or numbers; else none."""
    for all_of_a_kind in ([letter.lower() for letter in LETTERS], [str(number + 1) for number in range(len(LETTERS))]):
        if set(labels) == set(all_of_a_kind[: len(labels)]) and len(set(labels)) == len(labels):
            return all_of_a_kind[: len(labels)]
    return []


def _as_text(value: object, where: str) -> str:
    """A text, or a number as a text. A value that Python and people write differently (true, null) is refused."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{where} is {'empty' if value in ('', None) else 'not a text'}")
