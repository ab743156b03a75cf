"""A script that answers a code question, run against several replay networks: does its result.json hold what is true?

The question says what the script reads and what it writes into result.json. The right result is what the question's own
solution writes on the same network; one network has other answers than another, so a constant is right on one at most.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from pydantic import JsonValue

from netllama.core.records import Question
from netllama.sandbox.exchange import Limits
from netllama.sandbox.sandbox import Sandbox
from testbed.internet.changes import START
from testbed.script_runner import ScriptRun, choose_data, furnish_folder, run_script

VARIANTS = (1, 2)
"""Seeds of the networks that a code question is asked on."""
RESULT = "result.json"
LIMITS = Limits(cpu_seconds=60.0, wall_seconds=300.0)
"""The processor's time decides, so that a busy machine gives the same verdicts; the other only ends what sleeps."""
LARGEST_RESULT = 2**20
"""Octets of a result.json that is read."""
NOW = START
"""When live streams begin: the first time in the network's files, so that their times are shifted by nothing."""
_CLOSE = 1e-6
"""What floats may differ by, summed in another order. Questions say to how many decimals they want a result."""
_SHOWN = 3
_LONGEST = 200
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
_STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \d+: (?=bgpstream: )")


@dataclass(frozen=True)
class Outcome:
    """How a script ended on one network, and what it wrote; `value` is None where `problem` says why there is none."""

    run: ScriptRun
    value: JsonValue
    problem: str


def run_code(
    code: str, scenario: str, network: Path, folder: Path, sandbox: Sandbox, limits: Limits = LIMITS
) -> ScriptRun:
    """Run `code` in folder/cwd, furnished anew for a row's `scenario`."""
    work = folder / "cwd"
    work.mkdir(parents=True)
    furnish_folder(work, network, *choose_data(scenario))
    script = folder / "script.py"
    script.write_text(code, encoding="utf-8")
    return run_script(script, work, folder / "state", sandbox, limits, now=NOW)


def run_answer(
    question: Question, code: str, network: Path, folder: Path, sandbox: Sandbox, limits: Limits = LIMITS
) -> Outcome:
    """What `code` answers to a code question on one network, run in `folder`."""
    run, result = run_code(code, question.scenario, network, folder, sandbox, limits), folder / "cwd" / RESULT
    if problem := describe_failure(run):
        return Outcome(run, None, problem)
    # Not through a link: it would be read with our rights, wherever it leads
    if result.is_symlink() or not result.is_file():
        return Outcome(run, None, f"no {RESULT}")
    if result.stat().st_size > LARGEST_RESULT:
        return Outcome(run, None, f"{RESULT} is too large: more than {LARGEST_RESULT:,} bytes")
    try:
        # NaN and Infinity are Python's own additions to JSON; no right result holds them.
        return Outcome(run, json.loads(result.read_text(encoding="utf-8"), parse_constant=_refuse), "")
    except (OSError, ValueError, RecursionError) as error:
        return Outcome(run, None, f"{RESULT} is not JSON: {_one_line(str(error))}")


def describe_failure(run: ScriptRun) -> str:
    """How a script failed, in one line; empty: it ended well."""
    if run.exit_code == 0:
        return ""
    return " ".join([run.describe_end(), *map(_one_line, run.stderr.strip().splitlines()[-1:])])


def remove_chance(problem: str, folder: str) -> str:
    """What a script said, without what differs from run to run: its folder, addresses, the replay's clock."""
    return _STAMP.sub("", _ADDRESS.sub("0x...", problem.replace(folder, "")))


def find_differences(found: JsonValue, right: JsonValue, place: str = "") -> Iterator[str]:
    """Where `found` is not `right`. Whole numbers are equal or not; 3 equals 3.0; booleans are not numbers."""
    here = place or "the whole"
    if isinstance(right, Mapping):
        if not isinstance(found, Mapping):
            yield f"{here}: not an object"
            return
        for key in sorted(right.keys() ^ found.keys()):
            yield f"{place}.{_one_line(key)}: {'missing' if key in right else 'not asked for'}"
        for key in sorted(right.keys() & found.keys()):
            yield from find_differences(found[key], right[key], f"{place}.{key}")
    elif isinstance(right, list):
        if not isinstance(found, list):
            yield f"{here}: not a list"
        elif len(found) != len(right):
            yield f"{here}: {len(found)} items, not {len(right)}"
        else:
            for position, (one, other) in enumerate(zip(found, right, strict=True)):
                yield from find_differences(one, other, f"{place}[{position}]")
    elif _is_number(right) and _is_number(found):
        if not _is_close(found, right):
            yield f"{here}: {_one_line(str(found))}, not {right}"
    elif isinstance(found, list | Mapping):
        yield f"{here}: a list or an object, not {str(right)[:40]!r}"
    elif type(found) is not type(right) or found != right:
        yield f"{here}: {str(found)[:40]!r}, not {str(right)[:40]!r}"


def judge_outcome(found: Outcome, right: Outcome) -> str:
    """Empty: the result is right. Else why not, in one line."""
    if right.problem:
        raise ValueError(f"the question's own solution fails: {right.problem}")
    if found.problem:
        return found.problem
    wrong = list(find_differences(found.value, right.value))
    return "; ".join(wrong[:_SHOWN]) + (f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else "")


def _is_close(found: float, right: float) -> bool:
    # A relative tolerance would pass over minutes in Unix times, and over AS numbers.
    if isinstance(found, int) and isinstance(right, int):
        return found == right
    try:
        return math.isclose(found, right, rel_tol=1e-12, abs_tol=_CLOSE)
    except OverflowError:  # an integer that no float holds
        return False


def _one_line(text: str) -> str:
    """What a script chose to say, without line ends and what would steer the terminal, and not without end."""
    return ascii(text[:_LONGEST])[1:-1] if not text[:_LONGEST].isprintable() else text[:_LONGEST]


def _is_number(value: JsonValue) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")
