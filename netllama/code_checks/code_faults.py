"""A script's run -> whether it holds, or what is wrong with it.

Only what shows without a right result to compare with: it does not parse, import, end, or end well; it asks the library
for what that has not; or it gives nothing. Whether what it prints is right nobody knows here.
"""

import ast
import re

from netllama.code_checks.code_run import CodeFinding
from netllama.code_tasks.code_answers import Outcome, describe_failure
from netllama.code_tasks.code_ladder import FailureClass, judge_run
from testbed.script_runner import ScriptRun

_FAILURES: dict[FailureClass, CodeFinding] = {
    FailureClass.MISSING_IMPORT: "missing import",
    FailureClass.WRONG_API: "wrong API",
    FailureClass.WRONG_FILTER: "wrong filter",
    FailureClass.INVENTED_PARAMETER: "invented parameter",
    FailureClass.RUNTIME_ERROR: "runtime error",
    FailureClass.TIMEOUT: "does not end",
    FailureClass.MEMORY: "too much memory",
    FailureClass.OUTPUT: "too much output",
}
_MISUSES: dict[str, CodeFinding] = {
    "unknown-argument": "invented parameter",
    "filter-string": "wrong filter",
    "filter-type": "wrong filter",
    "filter-value": "wrong filter",
    "interface": "wrong interface",
    "interface-option": "wrong interface",
    "not-a-list": "not a list",
    "not-a-time": "not a time",
    "unknown-collector": "unknown collector",
    "unknown-project": "unknown project",
    "unknown-router": "unknown router",
    "record-type": "wrong record type",
    "unknown-attribute": "invented attribute",
    "missing-field": "missing field",
    "removed-api": "removed API",
    "after-start": "set too late",
    "assigned-attribute": "assigned attribute",
    "start-failed": "wrong interface",
}
"""What the replay's log calls it."""
_ERRORS: dict[str, CodeFinding] = {
    "SyntaxError": "does not parse",
    "FileNotFoundError": "missing file",
}
"""Beside those that the ladder knows; the compiler objects to some of what the parser lets pass."""
_CONSEQUENCE, _PROVOKED = "start-failed", "missing-field"
"""A stream that fails to start does so for what was set before. A field that an element lacks is no fault where the
script handles the KeyError; an attribute that no element has is one even then."""
_LINE = re.compile(r'^  File "[^"]*/script\.py", line (\d+)', re.MULTILINE)


def find_fault(tree: ast.Module, run: ScriptRun) -> tuple[CodeFinding, str]:
    """(finding, what happened in one line)."""
    failed = run.exit_code != 0
    if run.network:
        return "network attempt", run.network[0]
    misuses = [event for event in run.select_events("misuse") if failed or event["what"] != _PROVOKED]
    misuses.sort(key=lambda event: event["what"] == _CONSEQUENCE)
    failure = _describe_failure(run)
    if failed:
        verdict = judge_run(tree, Outcome(run, None, describe_failure(run)))
        counted = [event for event in misuses if event["what"] != _PROVOKED or "KeyError" in failure]
        if counted and run.exit_code is not None:
            return _MISUSES.get(counted[0]["what"], "wrong API"), f"{_describe_misuse(counted[0])}; {failure}"
        for error, finding in _ERRORS.items():
            if f"{error}: " in failure:
                return finding, failure
        return _FAILURES.get(verdict.failure, "runtime error"), failure
    if misuses:
        return _MISUSES.get(misuses[0]["what"], "wrong API"), _describe_misuse(misuses[0])
    if not (run.stdout.strip() or _list_written(run) or _shows_figure(tree)):
        notes = [str(event["detail"]) for event in run.select_events("note")]
        return "no output", "; ".join(["it prints and writes nothing", *notes[:1]])
    return "holds", ""


def list_misuses(run: ScriptRun) -> list[str]:
    """A line for each."""
    return [_describe_misuse(event) for event in run.select_events("misuse")]


def _describe_misuse(event: dict[str, object]) -> str:
    return f"line {event['line']}: {event['detail']}"


def _describe_failure(run: ScriptRun) -> str:
    """The last line of what it complained of, with the line of the script."""
    said = describe_failure(run).removeprefix("exit 1 ")
    lines = _LINE.findall(run.stderr)
    return f"line {lines[-1]}: {said}" if lines and said else said


def _shows_figure(tree: ast.Module) -> bool:
    """Whether it calls Matplotlib's `show`, which does nothing on a machine without a display, without a word."""
    nodes = list(ast.walk(tree))
    calls = (node.func for node in nodes if isinstance(node, ast.Call))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    shown = any(isinstance(called, ast.Attribute) and called.attr == "show" for called in calls)
    return shown and any(name.partition(".")[0] == "matplotlib" for name in imported)


def _list_written(run: ScriptRun) -> list[str]:
    return [path.name for path in run.files if path.is_file() and path.stat().st_size]
