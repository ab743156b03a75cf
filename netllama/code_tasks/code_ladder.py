"""How far a script gets with a code question, and what kind of fault stops it.

The ladder: extracted, parses, its imports exist, it runs, it touched the data, it wrote a valid result, the result is
right. All of it is computed here, outside of the sandbox, from how the script ended, from what it wrote, and from the
logs of the sandbox and of the pybgpstream replay. A script can forge those logs, but no right result on two networks.
"""

import ast
import re
import sys
import sysconfig
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from importlib.machinery import PathFinder
from typing import Any

from pydantic import JsonValue

from netllama.code_tasks.code_answers import Outcome
from testbed.script_runner import SHIMS, ScriptRun


class Rung(IntEnum):
    """The highest that a script reached."""

    NOTHING = 0
    EXTRACTED = 1
    PARSES = 2
    IMPORTS_EXIST = 3
    RUNS = 4
    TOUCHED_DATA = 5
    VALID_RESULT = 6
    RIGHT = 7


class FailureClass(Enum):
    """What kept a script from the next rung."""

    NONE = "right"
    NO_CODE = "no code"
    SYNTAX = "does not parse"
    MISSING_IMPORT = "missing import"
    WRONG_API = "wrong API"
    WRONG_FILTER = "wrong filter"
    INVENTED_PARAMETER = "invented parameter"
    RUNTIME_ERROR = "runtime error"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT = "too much output"
    NETWORK_ATTEMPT = "network attempt"
    NO_DATA = "no data touched"
    INVALID_RESULT = "empty or invalid result"
    WRONG_RESULT = "wrong result"


@dataclass(frozen=True)
class CodeVerdict:
    """How far a script came; `detail` says in one line what happened, empty where it is right."""

    rung: Rung
    failure: FailureClass
    detail: str = ""


_LIMITS = {
    "wall time": FailureClass.TIMEOUT,
    "CPU time": FailureClass.TIMEOUT,
    "idle time": FailureClass.TIMEOUT,
    "memory": FailureClass.MEMORY,
    "output": FailureClass.OUTPUT,
    "disk": FailureClass.OUTPUT,
}
_FILTERS = (
    "filter-string",
    "filter-type",
    "filter-value",
    "record-type",
    "unknown-collector",
    "unknown-project",
    "unknown-router",
)
"""Kinds of misuse: the stream was asked for what is not there, or in words that it does not know."""
_PARAMETERS = ("unknown-argument", "interface-option")
_CONSEQUENCE = "start-failed"
"""A stream does not start because of what was set before."""
_REPLAYED = ("mrt/", "index.csv")
"""Data that the pybgpstream replay opens itself, whether or not the script gets any of it."""
_RAISED = re.compile(r'^  File "[^"]*/script\.py", line (\d+)', re.MULTILINE)
_OWNER = re.compile(r"'?([A-Za-z_]\w*)")
_UNKNOWN_KEYWORD = re.compile(r"unexpected keyword argument|is an invalid keyword argument")


def parse_code(code: str) -> ast.Module | CodeVerdict:
    """The syntax tree of a script, or the verdict on a text that is none."""
    if not code.strip():
        return CodeVerdict(Rung.NOTHING, FailureClass.NO_CODE, "the answer holds no code")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # \d in a string is no fault here
            return ast.parse(code)
    except SyntaxError as error:
        return CodeVerdict(Rung.EXTRACTED, FailureClass.SYNTAX, f"line {error.lineno}: {error.msg}")
    except (ValueError, RecursionError, MemoryError) as error:  # a null character; more brackets than the parser holds
        return CodeVerdict(Rung.EXTRACTED, FailureClass.SYNTAX, str(error) or "nested too deeply")


def find_missing_imports(tree: ast.Module) -> list[str]:
    """Top-level modules that a script imports and that the sandbox has not; those that it tries do not count."""
    tried = {id(node) for block in ast.walk(tree) if isinstance(block, ast.Try) for node in ast.walk(block)}
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in tried:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level or (node.module or "").partition(".")[0])
    return sorted(name for name in names if not _is_importable(name))


def judge_run(tree: ast.Module, outcome: Outcome) -> CodeVerdict:
    """The verdict on a run, up to a valid result; whether it is right is not asked here."""
    run = outcome.run
    if run.exit_code != 0:
        return _charge_network(run, _judge_failed_run(tree, run, outcome.problem))
    if not has_touched_data(run):
        notes = [str(event["detail"]) for event in [*run.find_misuses(), *run.select_events("note")]]
        detail = notes[0] if notes else outcome.problem or "it read none of its files"
        return _charge_misuse(run, CodeVerdict(Rung.RUNS, FailureClass.NO_DATA, detail))
    if problem := outcome.problem or _find_emptiness(outcome.value):
        return _charge_misuse(run, CodeVerdict(Rung.TOUCHED_DATA, FailureClass.INVALID_RESULT, problem))
    return CodeVerdict(Rung.VALID_RESULT, FailureClass.NONE)


def judge_difference(run: ScriptRun, verdict: CodeVerdict, difference: str) -> CodeVerdict:
    """`verdict` on a run, carried on: where its result differs from the right one; empty: it does not.

    A result that is right without data that we saw read is right: there are ways to read a file that we do not see.
    """
    if not difference:
        return CodeVerdict(Rung.RIGHT, FailureClass.NONE)
    if verdict.rung < Rung.VALID_RESULT:
        return verdict
    return _charge_misuse(run, CodeVerdict(Rung.VALID_RESULT, FailureClass.WRONG_RESULT, difference))


def has_touched_data(run: ScriptRun) -> bool:
    """Whether a script took elements from a stream, or opened its data itself."""
    streams = bool(run.select_events("stream"))
    read = [name for name in run.opened if not (streams and name.startswith(_REPLAYED))]
    data = [name for name in read if name.endswith((".csv", ".pcap")) or name.startswith(_REPLAYED)]
    return bool(data) or run.count_consumed()[1] > 0


def _judge_failed_run(tree: ast.Module, run: ScriptRun, problem: str) -> CodeVerdict:
    missing = find_missing_imports(tree)
    reached = Rung.PARSES if missing else Rung.IMPORTS_EXIST
    if run.exit_code is None:
        return CodeVerdict(reached, _LIMITS.get(run.ended, FailureClass.RUNTIME_ERROR), problem)
    last = (run.stderr.strip().splitlines() or [""])[-1]
    error, _, message = last.partition(": ")
    if error == "ModuleNotFoundError":
        return CodeVerdict(Rung.PARSES, FailureClass.MISSING_IMPORT, problem)
    if missing:
        return CodeVerdict(reached, FailureClass.MISSING_IMPORT, f"no module {missing[0]}; {problem}")
    if error == "ImportError":  # the module is there, but not the name that is imported from it
        return CodeVerdict(Rung.PARSES, FailureClass.WRONG_API, problem)
    return CodeVerdict(reached, _classify_error(tree, run, error, message), problem)


def _classify_error(tree: ast.Module, run: ScriptRun, error: str, message: str) -> FailureClass:
    if error == "MemoryError" or error.endswith("._ArrayMemoryError"):
        return FailureClass.MEMORY
    lines = [int(number) for number in _RAISED.findall(run.stderr)]
    at_fault = [event for event in run.find_misuses() if event["line"] in lines[-1:]]
    if lines and at_fault:
        return _classify_misuses(at_fault)
    if _is_own(tree, message):
        return FailureClass.RUNTIME_ERROR
    if error == "TypeError" and _UNKNOWN_KEYWORD.search(message):
        return FailureClass.INVENTED_PARAMETER
    if error == "AttributeError" and "'NoneType'" not in message:
        return FailureClass.WRONG_API
    return FailureClass.RUNTIME_ERROR


def _classify_misuses(events: Sequence[dict[str, Any]]) -> FailureClass:
    """The class of what was done wrong first: the rest may follow from it."""
    kinds = [str(event["what"]) for event in events]
    first = next((kind for kind in kinds if kind != _CONSEQUENCE), _CONSEQUENCE)
    if first in _FILTERS:
        return FailureClass.WRONG_FILTER
    return FailureClass.INVENTED_PARAMETER if first in _PARAMETERS else FailureClass.WRONG_API


def _charge_misuse(run: ScriptRun, verdict: CodeVerdict) -> CodeVerdict:
    """The verdict on a script that ended well, with the misuse that explains it, if it is known."""
    if misuses := run.find_misuses():
        verdict = CodeVerdict(verdict.rung, _classify_misuses(misuses), verdict.detail)
    return _charge_network(run, verdict)


def _charge_network(run: ScriptRun, verdict: CodeVerdict) -> CodeVerdict:
    if not run.network:
        return verdict
    return CodeVerdict(verdict.rung, FailureClass.NETWORK_ATTEMPT, f"{run.network[0]}; {verdict.detail}")


def _is_own(tree: ast.Module, message: str) -> bool:
    """Whether the error is about a function or class of the script's own."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    own = {node.name for node in ast.walk(tree) if isinstance(node, kinds)}
    named = _OWNER.match(message)
    return named is not None and named[1] in own


def _is_importable(name: str) -> bool:
    if name in sys.stdlib_module_names:
        return True
    folders = [str(SHIMS), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return PathFinder.find_spec(name, folders) is not None


def _find_emptiness(value: JsonValue) -> str:
    return "result.json says nothing" if value is None or value in ({}, [], "") else ""
