"""How a stage ends when its input is bad: one clear line on stderr, exit code 1, no traceback.

A `StageError` is for what the user can mend (a file, a key, a param, a server). Anything else is our
own bug and keeps its traceback.
"""

import signal
import sys
from collections.abc import Callable


class StageError(Exception):
    """What is wrong, where (file:line or key), and what to do about it."""


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main` as a process: exit 0, 1 (`StageError`) or 130 (Ctrl-C, SIGTERM)."""
    signal.signal(signal.SIGTERM, _interrupt)
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
        print("interrupted: what was stored is kept, the next run goes on from there", file=sys.stderr)
        sys.exit(130)


def _interrupt(signum: int, frame: object) -> None:
    """SIGTERM ends a stage like Ctrl-C does, so that `finally` blocks stop the teacher's server."""
    raise KeyboardInterrupt
