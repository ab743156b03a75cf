"""The configuration of a replay (PYBGPSTREAM_REPLAY), its log, and the library's messages on stderr."""

import contextlib
import json
import os
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

VARIABLE = "PYBGPSTREAM_REPLAY"

_PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # noqa: PTH100, PTH120
_noted: set[tuple[Any, ...]] = set()
_open: dict[str, TextIO | None] = {}


@dataclass(frozen=True)
class ReplaySettings:
    archive: Path | None = None
    log: str | None = None
    now: float | None = None
    problem: str = ""
    """Why there is no archive; a message for stderr."""


def load_settings() -> ReplaySettings:
    """The configuration that the environment names. Never raises: see `problem`."""
    return _load_settings(os.environ.get(VARIABLE))


@lru_cache
def _load_settings(path: str | None) -> ReplaySettings:
    if not path:
        return ReplaySettings(
            problem=f"the environment variable {VARIABLE} is not set; it must name the replay's JSON file"
        )
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        archive, log, now = values.get("archive"), values.get("log"), values.get("now")
        return ReplaySettings(Path(archive) if archive else None, log, now, "" if archive else f"{path}: no 'archive'")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        return ReplaySettings(problem=f"{VARIABLE}={path}: {error}")


def get_now() -> float:
    found = load_settings().now
    return time.time() if found is None else float(found)


def print_complaint(message: str, level: str = "ERROR") -> None:
    """Print one line to stderr, in the format of the library's log."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S")
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(f"{moment} {os.getpid()}: bgpstream: {level}: {message}", file=sys.stderr, flush=True)


def write_event(event: dict[str, Any]) -> None:
    """Append one event to the log, if there is one. A log that cannot be written is silently abandoned."""
    path = load_settings().log
    if path is None:
        return
    try:
        if path not in _open:
            _open[path] = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115
        file = _open[path]
        if file is not None:
            file.write(json.dumps(event, sort_keys=True, default=str) + "\n")
    except (OSError, ValueError):
        _open[path] = None


def note_misuse(what: str, detail: str, event: str = "misuse") -> None:
    """Note a misuse with the script's line. A misuse that repeats in a loop is written only once."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGES) and frame.f_back is not None:
        frame = frame.f_back
    file, line = os.path.basename(frame.f_code.co_filename), frame.f_lineno  # noqa: PTH119
    key = (load_settings().log, what, detail, file, line)
    if key not in _noted:
        _noted.add(key)
        write_event({"event": event, "what": what, "detail": detail, "file": file, "line": line})


def note_remark(what: str, detail: str) -> None:
    """Note something that is not a misuse but worth mentioning: a stream that gave nothing."""
    note_misuse(what, detail, "note")
