"""Why a candidate is no good: named pure functions, in order, the first reason wins.

Each takes the candidate and the family's context and returns whether it objects. Novelty comes last and
apart, because it needs the pool (stages/novelty).
"""

import ast
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from stages.selfinstruct.blocks import Candidate
from stages.selfinstruct.prompting import NO_INPUT, SEPARATOR

FENCE = re.compile(r"```[ \t]*([\w+-]*)[^\n]*\n(.*?)```", re.DOTALL)
_MARKERS = re.compile(rf"(^\s*{SEPARATOR}\s*$|{NO_INPUT}|\b\d+\s*\.\s*(Instruction|Input|Output)\s*:)", re.MULTILINE)
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_LEAK_WORDS = 12
_REPEATS = 3


@dataclass(frozen=True)
class Context:
    """What a filter may look at besides the candidate."""

    directive: str
    min_words: int
    max_words: int


def empty(candidate: Candidate, context: Context) -> bool:
    """No instruction or no output."""
    return not candidate.instruction or not candidate.output


def word_count(candidate: Candidate, context: Context) -> bool:
    """The instruction's words are outside [min_words, max_words]."""
    return not context.min_words <= len(candidate.instruction.split()) <= context.max_words


def markers(candidate: Candidate, context: Context) -> bool:
    """Block markup or zero-width characters inside a field: two tasks that ran into each other."""
    text = "\n".join((candidate.instruction, candidate.input, candidate.output))
    return bool(_MARKERS.search(text) or _INVISIBLE.search(text))


def prompt_leak(candidate: Candidate, context: Context) -> bool:
    """Twelve words in a row of the directive: the teacher repeats its orders instead of following them."""
    directive = _shingles(context.directive)
    return any(directive & _shingles(text) for text in (candidate.instruction, candidate.output))


def echo(candidate: Candidate, context: Context) -> bool:
    """The output only says the instruction or the input again."""
    output = candidate.output.casefold()
    return output in (candidate.instruction.casefold(), candidate.input.casefold())


def repetition(candidate: Candidate, context: Context) -> bool:
    """The same line or sentence of four words or more, three times over: a decoding loop."""
    pieces = (piece.strip() for piece in re.split(r"[\n.!?]", candidate.output))
    counts = Counter(piece for piece in pieces if len(piece.split()) > _REPEATS)
    return any(count >= _REPEATS for count in counts.values())


def broken_code(candidate: Candidate, context: Context) -> bool:
    """A fence is not closed, or a Python block does not parse."""
    if candidate.output.count("```") % 2:
        return True
    blocks = (code for language, code in FENCE.findall(candidate.output) if language.lower() in ("python", "py"))
    return any(not _parses(code) for code in blocks)


FILTERS: tuple[Callable[[Candidate, Context], bool], ...] = (
    empty,
    word_count,
    markers,
    prompt_leak,
    echo,
    repetition,
    broken_code,
)


def objection(candidate: Candidate, context: Context) -> str | None:
    """The name of the first filter that objects; None: the candidate may go on to the novelty check."""
    if candidate.problem:
        return candidate.problem
    return next((check.__name__ for check in FILTERS if check(candidate, context)), None)


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + _LEAK_WORDS]) for i in range(len(words) - _LEAK_WORDS + 1)}


def _parses(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError):
        return False
    return True
