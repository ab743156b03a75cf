"""How a process ends that was forked from one with many libraries."""

import atexit
import contextlib
import gc
import os
import sys
import threading
from typing import NoReturn


def end_fork(code: object) -> NoReturn:
    """End as Python ends with this `SystemExit.code`: threads, exit functions, objects without owners, streams.

    Only the libraries' own objects are not taken apart: that costs 90 ms with pandas and Scapy, a copy of most pages
    that this process shares with the one that it was forked from, and nobody looks at them.
    """
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for those that are no daemons
    atexit._run_exitfuncs()
    gc.collect()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError):  # closed
            stream.flush()
    os._exit((code or 0) & 0xFF)
