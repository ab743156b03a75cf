"""Whether a text that a model wrote into a blank is right: the answer or an alias, however it is dressed.

Both are brought into one form first: case, articles, quotation marks, hyphens and trailing punctuation don't count, nor
does a sentence around the answer that repeats the question. Numbers are compared as numbers: 3,200 is 3200, 0x0b is 11,
and 0.3 s is 300 ms where the question names the unit.
"""

import re
import unicodedata
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from netllama.core.records import Question

BLANK = re.compile(r"_{3,}")
_LEAD = re.compile(r"^(?:(?:the )?(?:correct |right |final )?answer(?: is)?\s*:?\s*|it is )?(?:(?:a|an|the) )?")
_EDGE = " .,;:!?。、।"  # NFKC makes the other full-width ones ASCII
_NUMBER = re.compile(r"^([-+]?)(0x[0-9a-f]+|(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)\s*([a-zµ%]*(?:/[a-z]+)?)$")
_ONLY_LEAD = re.compile(r"\W*(?:the )?(?:correct |right |final )?answer(?: is)?\W*")
_SCALES = {
    "second": (("ns", "nanosecond"), ("µs", "us", "microsecond"), ("ms", "millisecond"), ("s", "sec", "second"),
               ("min", "minute"), ("h", "hour"), ("day",)),
    "byte": (("byte", "octet"), ("kb", "kilobyte"), ("mb", "megabyte"), ("gb", "gigabyte")),
    "bit": (("bit",), ("kbit", "kilobit"), ("mbit", "megabit"), ("gbit", "gigabit")),
    "bit/s": (("bit/s", "bps"), ("kbit/s", "kbps"), ("mbit/s", "mbps"), ("gbit/s", "gbps")),
    "metre": (("mm", "millimetre", "millimeter"), ("m", "metre", "meter"), ("km", "kilometre", "kilometer")),
    "percent": (("%", "percent"),),
    "decibel": (("db", "decibel"),),
    "dbm": (("dbm",),),
    "hertz": (("hz", "hertz"), ("khz", "kilohertz"), ("mhz", "megahertz"), ("ghz", "gigahertz")),
}  # fmt: skip
_STEPS = {"second": (Decimal("1e-9"), Decimal("1e-6"), Decimal("1e-3"), Decimal(1), Decimal(60), Decimal(3600),
                     Decimal(86400)),
          "metre": (Decimal("1e-3"), Decimal(1), Decimal(1000))}  # fmt: skip
_THOUSANDS = tuple(Decimal(1000) ** power for power in range(4))
_BINARY = {name: ("byte", Decimal(1024) ** power) for power, name in enumerate(("kib", "mib", "gib"), start=1)}
_UNITS = _BINARY | {
    name: (quantity, step)
    for quantity, scale in _SCALES.items()
    for names, step in zip(scale, _STEPS.get(quantity, _THOUSANDS), strict=False)
    for name in names
}
"""Names of units: what they measure, and how many of the smallest-named unit they are."""


class Amount(NamedTuple):
    """A number and the name of its unit; empty where it has none."""

    value: Decimal
    unit: str


def judge_blank(question: Question, written: str) -> bool:
    """Whether the first line of `written` that says more than `Answer:` is the answer or one of its aliases."""
    lines = [line for line in written.splitlines() if line.strip() and not _ONLY_LEAD.fullmatch(line.casefold())]
    line = lines[0] if lines else ""
    accepted = [question.answer, *question.aliases]
    unit = find_unit(question.question)
    return any(match_texts(candidate, text, unit) for candidate in _list_readings(question, line) for text in accepted)


def match_texts(written: str, expected: str, unit: str = "") -> bool:
    """Whether two texts are the same answer. `unit`: of a number that is written without one."""
    one, other = normalise_answer(written), normalise_answer(expected)
    if one == other:
        return bool(one)
    first, second = parse_amount(one), parse_amount(other)
    return first is not None and second is not None and _is_same_amount(first, second, unit)


def normalise_answer(text: str) -> str:
    """Lower case, one space between words, without quotation marks, an article before it or a full stop after it."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\N{GREEK SMALL LETTER MU}", "µ")
    folded = folded.replace("\N{MINUS SIGN}", "-")
    plain = re.sub(r"(?<=\w)[-_](?=\w)|_", " ", re.sub(r"[`*\"'“”‘’]", "", folded))
    spaced = " ".join(plain.split())
    # An answer may be nothing but punctuation, such as the mark that negates an AS path expression.
    return _strip_edges(_LEAD.sub("", _strip_edges(spaced), count=1)) or spaced


def _strip_edges(text: str) -> str:
    """Without punctuation around it; the point of `.5` is none."""
    stripped = text.strip(_EDGE)
    return f".{stripped}" if re.match(rf"[{_EDGE}]*(?<!\.)\.\d", text) else stripped


def find_unit(question: str) -> str:
    """The unit that follows the blank in the question, such as `millisecond` in `____ milliseconds`; empty if none."""
    parts = BLANK.split(question, maxsplit=1)
    word = parts[1].split()[0].casefold().strip(".,;:?!") if len(parts) == 2 and parts[1].split() else ""
    return _name_unit(word)


def parse_amount(normalised: str) -> Amount | None:
    """`normalised` as a number with a unit, if it is nothing but that."""
    found = _NUMBER.match(normalised)
    if not found:
        return None
    sign, digits, unit = found.groups()
    try:
        value = Decimal(int(digits, 16)) if digits.startswith("0x") else Decimal(digits.replace(",", ""))
    except InvalidOperation:
        return None
    return Amount(-value if sign == "-" else value, unit)


def _list_readings(question: Question, line: str) -> list[str]:
    """The line itself, and what stands in the blank where the line repeats the sentence around it."""
    before, *rest = BLANK.split(question.question, maxsplit=1)
    after = rest[0] if rest else ""
    plain, head, tail = (" ".join(text.split()) for text in (line, before, after))
    folded = plain.casefold()
    last = "" if head.endswith(".") else head.casefold().rsplit(". ", 1)[-1]
    readings = [line]
    for start in dict.fromkeys([head.casefold(), last]):
        end = tail.casefold().rstrip(" .")
        body = folded.rstrip(" .")
        if (start or end) and body.startswith(start) and body.endswith(end):
            readings.append(plain[len(start) : len(body) - len(end)])
    return readings


def _is_same_amount(one: Amount, other: Amount, unit: str) -> bool:
    units = [_name_unit(amount.unit) or (unit if not amount.unit else "") for amount in (one, other)]
    if all(name in _UNITS for name in units):
        (quantity, step), (other_quantity, other_step) = (_UNITS[name] for name in units)
        return quantity == other_quantity and one.value * step == other.value * other_step
    return one.value == other.value and (
        one.unit == other.unit or not one.unit or not other.unit or units[0] == units[1]
    )


def _name_unit(word: str) -> str:
    """The singular of a known unit, or the word as it is where it is none."""
    return word if word in _UNITS else word[:-1] if word.endswith("s") and word[:-1] in _UNITS else ""
