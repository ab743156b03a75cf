"""Ends a stage whose dvc was killed: nobody would take what it goes on to write, and the next run would meet it.

DVC sets DVC_STAGE for what it starts. So the processes above a stage, up to the first one without that variable, are
what stands between it and DVC: a shell, accelerate's launcher, dvc itself. A stage that is run by hand has none of
them, and outlives the shell that it was started from.
"""

import os
import signal
import threading
import time
from pathlib import Path

SET_BY_DVC = "DVC_STAGE"
POLL = 1.0
"""Seconds between two looks."""
_GONE = "ZX"
"""States of processes that have ended, of which the first waits for its parent (proc(5))."""


def watch_launcher() -> None:
    """Send this process SIGTERM as soon as DVC, or a process between the two, has ended. Needs /proc (Linux)."""
    if SET_BY_DVC in os.environ and (started := _find_launchers()):
        threading.Thread(target=_wait_for_end, args=(started,), daemon=True).start()


def _find_launchers() -> dict[int, str]:
    """The processes between this one and DVC, DVC included, each with the time of its start."""
    launchers: dict[int, str] = {}
    pid = os.getppid()
    while pid > 1 and (state := _read_state(pid)):
        launchers[pid] = state[1]
        try:
            below_dvc = f"\0{SET_BY_DVC}=".encode() in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:  # another user's, such as sudo's: what stands above it is not ours
            break
        if not below_dvc:
            break
        pid = state[0]
    return launchers


def _read_state(pid: int) -> tuple[int, str] | None:
    """The parent of a process and the time of its start; None if it has ended."""
    try:
        # The name, which comes before, is in brackets and may hold any character.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in _GONE else (int(fields[1]), fields[19])


def _wait_for_end(launchers: dict[int, str]) -> None:
    while all((state := _read_state(pid)) and state[1] == start for pid, start in launchers.items()):
        time.sleep(POLL)
    os.kill(os.getpid(), signal.SIGTERM)
