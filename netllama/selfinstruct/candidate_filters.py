"""Why a candidate is no good: named pure functions, in the order that params give them; the first reason wins.

Each takes the candidate and its context (what the family wants, and what the candidate is near to) and returns
whether it objects. `filters.enabled` lists them by name.
"""

import ast
import re
import sys
import textwrap
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from netllama.core.sections import FilterName
from netllama.selfinstruct.block_contract import SEPARATOR
from netllama.selfinstruct.exemplars import NO_INPUT
from netllama.selfinstruct.output_contract import Candidate

PYTHON = ("python", "py", "python3")
FENCE = re.compile(r"```[ \t]*([\w+-]*)[^\n]*\n(.*?)```", re.DOTALL)
_MARKERS = re.compile(rf"(^\s*{SEPARATOR}\s*$|{NO_INPUT}|\b\d+\s*\.\s*(Instruction|Input|Output)\s*:)", re.MULTILINE)
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_LOCAL_PATH = re.compile(r"(?<![\w.])/(?:home|Users|root)/\w|(?i:\b[a-z]:\\{1,2}Users\\|\bfile://)")
_SECRET = re.compile(
    r"\b(?:sk-[\w-]{20,}|hf_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,}|AKIA[0-9A-Z]{16}"
    r"|xox[abprs]-[\w-]{10,}|AIza[\w-]{35})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_LEAK_WORDS = 12
_REPEATS = 3

Match = tuple[str | None, float]
"""(id, ROUGE-L F1) of the most similar text; (None, 0.0): none."""


@dataclass(frozen=True)
class Context:
    """What a filter may look at besides the candidate."""

    directive: str
    """The text that the teacher was given around the examples."""
    min_words: int
    max_words: int
    blacklist: tuple[str, ...] = ()
    required_imports: frozenset[str] = frozenset()
    rouge_threshold: float = 1.0
    question_threshold: float = 1.0
    nearest: Match = (None, 0.0)
    """The seed or kept instruction that is most like the instruction."""
    same_output: str | None = None
    """The seed or kept row that has this very output."""
    nearest_question: Match = (None, 0.0)
    """The evaluation question that is most like the instruction or the input."""


def python_blocks(text: str) -> list[str]:
    """The code of the fenced Python blocks, in their order; one in a list is indented as a whole, which goes."""
    return [textwrap.dedent(code) for language, code in FENCE.findall(text) if language.lower() in PYTHON]


def empty_field(candidate: Candidate, context: Context) -> bool:
    """No instruction or no output."""
    return not candidate.instruction or not candidate.output


def word_count(candidate: Candidate, context: Context) -> bool:
    """The instruction's words are outside [min_words, max_words]."""
    return not context.min_words <= len(candidate.instruction.split()) <= context.max_words


def markers(candidate: Candidate, context: Context) -> bool:
    """Block markup or zero-width characters inside a field: two tasks that ran into each other."""
    text = _text(candidate)
    return bool(_MARKERS.search(text) or _INVISIBLE.search(text))


def prompt_leak(candidate: Candidate, context: Context) -> bool:
    """Twelve words in a row of the prompt: the teacher repeats its orders instead of following them."""
    directive = _shingles(context.directive)
    return any(directive & _shingles(text) for text in (candidate.instruction, candidate.input, candidate.output))


def blacklist(candidate: Candidate, context: Context) -> bool:
    """A word of `filters.blacklist` in the instruction, as a whole word, in any case."""
    words = "|".join(map(re.escape, context.blacklist))
    return bool(words and re.search(rf"(?<!\w)(?:{words})(?!\w)", candidate.instruction, re.IGNORECASE))


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
    return any(_syntax(code) is None for code in python_blocks(candidate.output))


def required_import(candidate: Candidate, context: Context) -> bool:
    """The Python in the output uses libraries, and none of them is one of `filters.required_imports`.

    A fragment that needs no more than the standard library passes: it may work on what the library hands it.
    """
    trees = [tree for code in python_blocks(candidate.output) if (tree := _syntax(code))]
    libraries = {name for tree in trees for name in _imported(tree)} - sys.stdlib_module_names
    return bool(context.required_imports and libraries and not libraries & context.required_imports)


def local_path(candidate: Candidate, context: Context) -> bool:
    """A path in somebody's home: nobody else has it."""
    return bool(_LOCAL_PATH.search(_text(candidate)))


def secret(candidate: Candidate, context: Context) -> bool:
    """A private key, or a token in the form of OpenAI's, Hugging Face's, GitHub's, AWS's, Slack's or Google's."""
    return bool(_SECRET.search(_text(candidate)))


def duplicate_output(candidate: Candidate, context: Context) -> bool:
    """A seed or kept row has the same output, but for white space."""
    return context.same_output is not None


def near_duplicate(candidate: Candidate, context: Context) -> bool:
    """The instruction is above `rouge_threshold` to a seed or a kept instruction of the family."""
    return context.nearest[1] > context.rouge_threshold


def near_question(candidate: Candidate, context: Context) -> bool:
    """Instruction or input are above `question_threshold` to an evaluation question: it must not be trained on."""
    return context.nearest_question[1] > context.question_threshold


Filter = Callable[[Candidate, Context], bool]
FILTERS: dict[FilterName, Filter] = {
    "empty_field": empty_field,
    "word_count": word_count,
    "markers": markers,
    "prompt_leak": prompt_leak,
    "blacklist": blacklist,
    "echo": echo,
    "repetition": repetition,
    "broken_code": broken_code,
    "required_import": required_import,
    "local_path": local_path,
    "secret": secret,
    "duplicate_output": duplicate_output,
    "near_duplicate": near_duplicate,
    "near_question": near_question,
}


def choose_filters(names: Sequence[FilterName]) -> list[Filter]:
    """The filters of these names, in their order.

    `empty_field` is always there, and first where it is not listed: a task with no text can't become a row.
    """
    listed = [FILTERS[name] for name in names]
    return listed if "empty_field" in names else [empty_field, *listed]


def _text(candidate: Candidate) -> str:
    return "\n".join((candidate.instruction, candidate.input, candidate.output))


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + _LEAK_WORDS]) for i in range(len(words) - _LEAK_WORDS + 1)}


def _imported(tree: ast.Module) -> Iterator[str]:
    """Top-level names of the modules that the code imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").split(".")[0]


def _syntax(code: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested too deep, such as `-----...1`
        return None
