"""Errors that end a stage or a command: one clear line on stderr, exit code 1, no traceback.

A `StageError` is for problems that the user can fix (a file, a key, a param, a server). Any other exception is a bug of
ours and keeps its traceback.
"""

import signal
import sys
from collections.abc import Callable


class StageError(Exception):
    """Its message says what is wrong, where (file:line or key), and what to do about it."""


def run_stage(main: Callable[[], None]) -> None:
    """Run `main` and exit with 0, 1 (`StageError`, or an `OSError` such as a full disk) or 130 (Ctrl-C, SIGTERM)."""
    signal.signal(signal.SIGTERM, _raise_interrupt)
    try:
        main()
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted: everything stored so far is kept, run again to continue", file=sys.stderr)
        sys.exit(130)


def _raise_interrupt(signum: int, frame: object) -> None:
    """Let SIGTERM end a stage like Ctrl-C, so that `finally` blocks run and stop the teacher's server."""
    raise KeyboardInterrupt
