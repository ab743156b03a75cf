"""Errors that end a stage or a command: one clear line on stderr, exit code 1, no traceback.

A `StageError` is for problems that the user can fix (a file, a key, a param, a server). Any other exception is a bug of
ours and keeps its traceback.
"""

import argparse
import contextlib
import errno
import io
import os
import select
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType

from netllama.core.launcher_watch import watch_launcher

INTERRUPTED = "interrupted: everything stored so far is kept, run again to continue"
NOBODY_READS = 128 + 13
"""Exit code of a program whose output nobody reads any more, as a shell reports the default of SIGPIPE."""


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk that takes no more."""


class StageError(Exception):
    """Its message says what is wrong, where (file:line or key), and what to do about it."""


def run_stage(main: Callable[[], None], description: str | None = None) -> None:
    """Run `main` and exit with 0, 1 (`StageError`, or an `OSError` such as a full disk) or 130 (Ctrl-C, SIGTERM).

    `description` is for a program without arguments: --help prints it, and any other argument is refused (exit code 2)
    before anything runs. None: `main` reads its arguments. A reader that goes before the output has ended, such as
    `head`, ends it without a word.
    """
    if description is not None:
        parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    watch_launcher()
    _prepare_streams()
    try:
        try:
            main()
        finally:
            _flush_output()
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except MemoryError:
        print("error: out of memory; give it more (ulimit -v, the container's limit), or less to read", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            sys.exit(NOBODY_READS)
        if error.filename is None and error.errno is None:
            raise
        # Who writes to a file says which.
        unnamed = "standard output, or a temporary file" if error.errno in NO_ROOM else ""
        where = f"{error.filename or unnamed}: ".removeprefix(": ")
        print(f"error: {where}{error.strerror}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        sys.exit(130)


def _prepare_streams() -> None:
    """Let no text fail for its characters, and none for a stream that was closed (`>&-`), which Python has as None."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (open to the end)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal in Latin-1; a file's name that is not UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")


def _flush_output() -> None:
    """Write what is left of the output. If the disk takes no more, nobody tries it again."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:
        _drop_output()
        raise


def _drop_output() -> None:
    """Send what is still to be written nowhere: Python tries to write it when it ends."""
    with contextlib.suppress(OSError):  # not a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _nobody_reads() -> bool:
    """Whether stdout is a pipe whose reader has gone. If so, what is still to be written goes nowhere."""
    try:
        out = sys.stdout.fileno()
    except OSError:  # not a file
        return False
    poll = select.poll()
    poll.register(out, 0)
    gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if gone:
        _drop_output()
    return gone


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Let SIGTERM end a stage like Ctrl-C, so that `finally` blocks run and stop the teacher's server.

    asyncio takes Ctrl-C itself and cancels its main task. An exception raised in the midst of its event loop may end in
    a callback that drops it, and then nothing ends at all.
    """
    of_ctrl_c = signal.getsignal(signal.SIGINT)
    if not callable(of_ctrl_c):  # the shell lets its background jobs ignore Ctrl-C
        raise KeyboardInterrupt
    of_ctrl_c(signum, frame)


def _report(kind: type[BaseException], error: BaseException, place: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print(INTERRUPTED, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, place)


# Ctrl-C in the seconds before `run_stage`, while modules are imported, ends in one line, too. This module is among the
# first that a stage or a command imports.
sys.excepthook = _report
