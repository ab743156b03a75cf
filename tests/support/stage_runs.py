"""A stage in the process of the tests: as `python -m` runs it, without the start of an interpreter and its imports."""

import contextlib
import io
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from netllama.core.errors import run_stage


@dataclass(frozen=True)
class Ended:
    """How it ended: the names are those of subprocess.CompletedProcess."""

    returncode: int
    stdout: str
    stderr: str


def run_here(main: Callable[[], None], *arguments: str, **environment: str) -> Ended:
    """`main` under `run_stage`, with `arguments` on its command line and more variables in its environment."""
    on_sigterm, code = signal.getsignal(signal.SIGTERM), 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        patch.setattr(sys, "argv", [main.__module__, *arguments])
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            run_stage(main)
        except SystemExit as ended:
            code = int(str(ended.code))
        finally:
            signal.signal(signal.SIGTERM, on_sigterm)
    return Ended(code, out.getvalue(), err.getvalue())
