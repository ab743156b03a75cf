"""The reasons to reject a candidate: named pure functions, in the order that params give them; the first reason wins.

Each takes the candidate and its context (what the family wants, and what the candidate is similar to) and returns
whether it objects. `filters.enabled` lists them by name.
"""

import ast
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from netllama.contamination.evaluation_questions import GivenAway
from netllama.contamination.normalisation import INVISIBLE
from netllama.core.credentials import KEY_FORM
from netllama.core.generate_section import FilterName
from netllama.core.markdown import extract_python_blocks, has_open_block
from netllama.core.prompt_markup import find_prompt_markup
from netllama.selfinstruct.block_contract import SEPARATOR
from netllama.selfinstruct.output_contract import Candidate

_SEPARATOR_LINE = re.compile(rf"^[^\S\n]*+{SEPARATOR}[^\S\n]*+$", re.MULTILINE)
_LOCAL_PATH = re.compile(r"(?<![\w.])/(?:home|Users|root)/\w|(?i:\b[a-z]:\\{1,2}Users\\|\bfile://)")
_LEAK_WORDS = 12
"""Words in a row of the prompt that a task may not repeat."""
_SENTENCE_WORDS = 4
"""Words from which on a line or sentence counts as repeated; code has shorter lines more than once."""
_REPEATS = 3
"""How often such a line or sentence is too often."""

Match = tuple[str | None, float]
"""(id, ROUGE-L F1) of the most similar text; (None, 0.0) where no text is similar."""


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
    nearest: Match = (None, 0.0)
    """The seed or kept instruction that is most similar to the instruction."""
    same_output: str | None = None
    """The seed or kept row that has the same output."""
    given_away: GivenAway | None = None
    """The evaluation question that the candidate gives away."""


def empty_field(candidate: Candidate, context: Context) -> bool:
    """No instruction or no output."""
    return not candidate.instruction or not candidate.output


def word_count(candidate: Candidate, context: Context) -> bool:
    """The instruction's words are outside [min_words, max_words]."""
    return not context.min_words <= len(candidate.instruction.split()) <= context.max_words


def markers(candidate: Candidate, context: Context) -> bool:
    """Markup of a prompt or zero-width characters inside a field: two tasks that ran together, or a raw prompt."""
    text = _join_fields(candidate)
    return bool(find_prompt_markup(text) or _SEPARATOR_LINE.search(text) or INVISIBLE.search(text))


def prompt_leak(candidate: Candidate, context: Context) -> bool:
    """Twelve words in a row of the prompt: the teacher repeats its orders instead of following them."""
    directive = _list_runs(context.directive)
    return any(directive & _list_runs(text) for text in (candidate.instruction, candidate.input, candidate.output))


def blacklist(candidate: Candidate, context: Context) -> bool:
    """A word of `filters.blacklist` in the instruction, as a whole word, in any case."""
    words = "|".join(map(re.escape, context.blacklist))
    return bool(words and re.search(rf"(?<!\w)(?:{words})(?!\w)", candidate.instruction, re.IGNORECASE))


def echo(candidate: Candidate, context: Context) -> bool:
    """The output only repeats the instruction or the input."""
    output = candidate.output.casefold()
    return output in (candidate.instruction.casefold(), candidate.input.casefold())


def repetition(candidate: Candidate, context: Context) -> bool:
    """The same line or sentence of four words or more, three times: a decoding loop."""
    pieces = (piece.strip() for piece in re.split(r"[\n.!?]", candidate.output))
    counts = Counter(piece for piece in pieces if len(piece.split()) >= _SENTENCE_WORDS)
    return any(count >= _REPEATS for count in counts.values())


def broken_code(candidate: Candidate, context: Context) -> bool:
    """A fence is not closed, or a Python block does not parse."""
    if has_open_block(candidate.output):
        return True
    return any(_parse_code(code) is None for code in extract_python_blocks(candidate.output))


def required_import(candidate: Candidate, context: Context) -> bool:
    """The Python in the output imports libraries, but none of `filters.required_imports`.

    A fragment that needs only the standard library passes: it may work on what the library hands it.
    """
    trees = [tree for code in extract_python_blocks(candidate.output) if (tree := _parse_code(code))]
    libraries = {name for tree in trees for name in _list_imports(tree)} - sys.stdlib_module_names
    return bool(context.required_imports and libraries and not libraries & context.required_imports)


def local_path(candidate: Candidate, context: Context) -> bool:
    """A path in somebody's home, which nobody else has."""
    return bool(_LOCAL_PATH.search(_join_fields(candidate)))


def secret(candidate: Candidate, context: Context) -> bool:
    """A private key, or a token in the form of OpenAI's, Hugging Face's, GitHub's, AWS's, Slack's or Google's."""
    return bool(KEY_FORM.search(_join_fields(candidate)))


def duplicate_output(candidate: Candidate, context: Context) -> bool:
    """A seed or kept row has the same output, except for white space and invisible characters."""
    return context.same_output is not None


def near_duplicate(candidate: Candidate, context: Context) -> bool:
    """The instruction has a ROUGE-L F1 above `rouge_threshold` to a seed or a kept instruction of the family."""
    return context.nearest[1] > context.rouge_threshold


def near_question(candidate: Candidate, context: Context) -> bool:
    """The task gives an evaluation question away, by the rule that split drops rows by (evaluation_questions.py)."""
    return context.given_away is not None


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
    """The filters of these names, in their order; `runs` (run_checks.py) and `agrees` (second_answers.py), which look
    at many tasks at once, are none of them.

    `empty_field` comes first where it is not listed, since a task without text can't become a row.
    """
    listed = [FILTERS[name] for name in names if name in FILTERS]
    return listed if "empty_field" in names else [empty_field, *listed]


def _join_fields(candidate: Candidate) -> str:
    return "\n".join((candidate.instruction, candidate.input, candidate.output))


def _list_runs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + _LEAK_WORDS]) for i in range(len(words) - _LEAK_WORDS + 1)}


def _list_imports(tree: ast.Module) -> Iterator[str]:
    """Top-level names of the modules that the code imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").split(".")[0]


def _parse_code(code: str) -> ast.Module | None:
    """None where it is not valid Python."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested too deep, such as `-----...1`
        return None
