"""Finds the strongest level of isolation that works on this machine, by running a script on it."""

import tempfile
from functools import cache

from netllama.core.errors import StageError
from netllama.core.temporary_folders import hold_folder
from netllama.sandbox.exchange import Limits
from netllama.sandbox.levels import NONE, Level, list_levels
from netllama.sandbox.sandbox import Sandbox, ScriptJob

_LIMITS = Limits(wall_seconds=20.0, cpu_seconds=10.0)


def find_sandbox(unsafe: bool = False, remedy: str = "If you have read the code and trust it: --unsafe") -> Sandbox:
    """The strongest sandbox of this machine; with `unsafe`, limits and no sandbox.

    StageError if none works here: it says what each level lacks, and the `remedy` of who asks.
    """
    if unsafe:
        return Sandbox(Level(NONE))
    problems = []
    for level in list_levels():
        problem = find_problem(level)
        if not problem:
            return Sandbox(level)
        problems.append(f"{level.name}: {problem}")
    reasons = "; ".join(problems) or "it needs Linux on x86-64 or ARM64"
    raise StageError(
        f"no sandbox works on this machine ({reasons}). Allow user namespaces, install bubblewrap, or use Linux 6.2 or "
        f"later. {remedy}"
    )


@cache
def find_problem(level: Level) -> str:
    """Why a level does not work here; empty if it does."""
    with hold_folder(tempfile.gettempdir(), "sandbox-") as place:
        script, work = place / "probe.py", place / "cwd"
        work.mkdir()
        script.write_text("open('written', 'w').write('yes')\n", encoding="utf-8")
        try:
            run = Sandbox(level).run(ScriptJob(script, work, place, limits=_LIMITS))
        except StageError as error:
            return str(error).rpartition(f"{level.name}: ")[2]
        except OSError as error:
            return str(error)
        if run.exit_code == 0 and (work / "written").is_file():
            return ""
        return " ".join([f"{run.ended} {run.exit_code}", *run.stderr.strip().splitlines()[-1:]])
