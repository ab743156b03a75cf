"""Which option an answer names: `B`, `b) text`, `option 2: text`, the text itself, or an index.

An answer may be read in several ways (`A` among the options A, MX and NS). It is taken only if all of them lead to the
same option. Whether an index counts from 0 or from 1 is known from other answers of the same file only, or from the
user.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from netllama.core.records import LETTERS
from netllama.question_shapes.named_options import NamedOptions

_BARE = re.compile(r"\(?([A-Za-z]|\d{1,2})[).:]?")
_OPTION = re.compile(r"option[ _-]*(\d{1,2}|[A-Za-z])(?:\s*[:.)-]\s*(\S.*))?", re.IGNORECASE | re.DOTALL)
_WITH_TEXT = re.compile(r"\(?([A-Za-z]|\d{1,2})[).:]\s+(\S.*)", re.DOTALL)
Answered = tuple[int, object, NamedOptions]
"""The line, the answer as it stands in the file, the options."""


@dataclass(frozen=True)
class IndexBase:
    """What indices of a file count from: 0 or 1, or None with the reason why that can't be told."""

    first: int | None
    reason: str
    numbered_zero: int = 0
    """The line of an answer 0 to options that are numbered from 1: then a number of the file may be no label."""
    is_given: bool = False
    """Whether the user says so."""


def read_answer(answer: object, options: NamedOptions, base: IndexBase) -> int:
    """The place of the right option, from 0. Raises ValueError with the reason if it can't be told."""
    if isinstance(answer, bool) or not isinstance(answer, str | int):
        raise ValueError(f"answer {answer!r} is neither a text nor an index")
    text = str(answer).strip()
    readings = _read_texts(text, options)
    if (index := _read_index(text, options)) is not None:
        if base.first is None and readings:
            raise ValueError(f"answer {text!r} is the text of an option, and may be an index; write its letter")
        if base.first is None:
            raise ValueError(f"answer {text} is an index, and {base.reason}")
        if 0 <= (place := index - base.first) < len(options.texts):
            readings["index"] = place
    elif text.isdigit() and (base.numbered_zero or (base.is_given and base.first == 0)):
        if not base.is_given:
            raise ValueError(
                f"answer {text} may be a label or an index, since line {base.numbered_zero} counts from 0; write "
                "letters, or say --first-index 0"
            )
        readings.pop("label", None)
        if int(text) < len(options.texts):
            readings["index"] = int(text)
    if not readings:
        raise ValueError(f"answer {text!r} names none of the {len(options.texts)} options")
    if len(set(readings.values())) > 1:
        ways = ", ".join(f"{LETTERS[place]} by its {way}" for way, place in readings.items())
        raise ValueError(f"answer {text!r} may be {ways}; write it in another way")
    return next(iter(readings.values()))


def may_name_option(answer: object, options: NamedOptions) -> bool:
    """Whether an answer, which may be one in words, has the form of one that names an option, be it a wrong one."""
    text = str(answer).strip()
    try:
        return bool(_read_texts(text, options)) or _read_index(text, options) is not None
    except ValueError:
        return "\n" not in text  # else it answers the parts of a question


def is_letter(answer: str) -> bool:
    """Whether an answer is what people write for an option: `B`, `(b)`, `option 2`."""
    text = answer.strip()
    return bool(re.fullmatch(r"\(?[A-Ja-j][).:]?", text)) or bool(_OPTION.fullmatch(text))


def _read_texts(text: str, options: NamedOptions) -> dict[str, int]:
    """Every way in which a text names an option, but as an index."""
    readings = {}
    if (same := options.find_text(text)) is not None:
        readings["text"] = same
    for way, pattern in (("label", _BARE), ("number", _OPTION), ("label and text", _WITH_TEXT)):
        if not (match := pattern.fullmatch(text)):
            continue
        place = _find_label(match[1], options, counted=way == "number")
        said = match[2] if pattern.groups > 1 else None
        if said is not None and same is None and (place is None or options.find_text(said) != place):
            raise ValueError(f"answer {text!r} names an option and gives a text that is not the option's")
        if place is not None:
            readings[way] = place
    return readings


def _find_label(label: str, options: NamedOptions, *, counted: bool) -> int | None:
    """The place of the option with this label or letter. A bare number is one only where options have numbers."""
    label = label.lower()
    if label in options.labels:
        return options.labels.index(label)
    if label.isdigit():
        return int(label) - 1 if counted and 1 <= int(label) <= len(options.texts) else None
    place = LETTERS.lower().find(label)
    return place if 0 <= place < len(options.texts) else None


def _read_index(text: str, options: NamedOptions) -> int | None:
    """The number that an answer is, if it may be an index: options with numbers have no other index."""
    if not re.fullmatch(r"\d{1,2}", text) or text in options.labels:
        return None
    return int(text) if int(text) <= len(options.texts) else None


def find_index_base(answers: Iterable[Answered]) -> IndexBase:
    """From 0 if some answer is 0, from 1 if some answer is the number of options; None if neither, or both."""
    zero, last, numbered_zero = 0, 0, 0
    for line, answer, options in answers:
        if isinstance(answer, bool) or not isinstance(answer, str | int):
            continue
        text = str(answer).strip()
        index = _read_index(text, options)
        if index is None or options.find_text(text) is not None:
            continue
        zero = zero or line * (index == 0)
        numbered_zero = numbered_zero or line * (index == 0 and "1" in options.labels)
        last = last or line * (index == len(options.texts))
    if zero and last:
        return IndexBase(None, f"line {zero} counts from 0, line {last} from 1; write letters", numbered_zero)
    if zero or last:
        return IndexBase(0 if zero else 1, f"as the answer at line {zero or last} shows", numbered_zero)
    return IndexBase(None, "nothing in this file shows whether it counts from 0 or 1; say --first-index 0 or 1")
