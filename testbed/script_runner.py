"""Python code + a built network -> what it printed, what it wrote, and how it used the pybgpstream replay.

The code runs as a process of its own, in a folder that holds copies of the network's files (never its truth) and with
`shims/` on its PYTHONPATH. That keeps it apart from this project, not from this machine: it has its user's rights, and
a child that begins a session of its own outlives it.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from netllama.core.errors import StageError
from testbed.captures.capture_files import CAPTURES
from testbed.internet.scenarios import ROUTING
from testbed.measurements.measurement_files import MEASUREMENTS

SHIMS = Path(__file__).parent / "shims"
LAUNCHER = Path(__file__).parent / "script_launcher.py"
CONFIG = "PYBGPSTREAM_REPLAY"
SCENARIO, CAPTURE = "mixed", "mixed"
# What a process needs to start at all. Everything else stays here: the environment holds API keys.
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV")
# The same output on every machine: communities are sets of str, whose order hangs on the hash seed.
FIXED = {"LC_ALL": "C.UTF-8", "MPLBACKEND": "Agg", "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1", "TZ": "UTC"}
HANDLED = ("missing-field", "unknown-attribute")
"""Kinds of misuse that correct code may provoke on purpose: it asks, and handles the exception."""
FILE_LIMIT = 2**28
"""Octets of the largest file that a script may write, its output included (an endless loop of prints: 1 GB in 2 s)."""
GRACE = 2.0
"""Seconds between the interrupt at the end of a script's time and its end."""
SHOWN = 2**20
"""Octets of stdout and of stderr that a run keeps, the last ones."""


@dataclass(frozen=True)
class ScriptRun:
    """How a script ended. `exit_code` is None where the time was up, negative where a signal ended it."""

    exit_code: int | None
    seconds: float
    stdout: str
    stderr: str
    files: list[Path]
    """Written or changed."""
    removed: list[Path]
    log: list[dict[str, Any]]
    """The events of the pybgpstream replay; shims/_pybgpstream/__init__.py documents them."""

    def select_events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.log if event["event"] == kind]

    def find_handled_misuses(self) -> list[dict[str, Any]]:
        """Misuses that a correct script may provoke, which handled the exception and ended well."""
        return [event for event in self.select_events("misuse") if self.exit_code == 0 and event["what"] in HANDLED]

    def find_misuses(self) -> list[dict[str, Any]]:
        """What counts against the script."""
        handled = self.find_handled_misuses()
        return [event for event in self.select_events("misuse") if event not in handled]

    def count_consumed(self) -> tuple[int, int]:
        """Records and elements that the script took; one killed at once leaves no count of a stream it was in."""
        streams = self.select_events("consumed")
        return sum(stream["records"] for stream in streams), sum(stream["elems"] for stream in streams)


def describe_exit(exit_code: int | None) -> str:
    if exit_code is None:
        return "time is up"
    return f"killed by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit {exit_code}"


def choose_data(name: str) -> tuple[str, str]:
    """(scenario, capture) of a data row's `scenario`: a name of either kind, beside which the other is the default."""
    if name in CAPTURES and name not in ROUTING:
        return SCENARIO, name
    return name or SCENARIO, CAPTURE


def furnish_folder(folder: Path, network: Path, scenario: str = SCENARIO, capture: str = CAPTURE) -> None:
    """Fill an empty `folder` with what a script finds in its working directory.

    mrt/ and index.csv of the routing `scenario`, every capture as NAME.pcap and `capture` as capture.pcap too, every
    file of measurements as NAME.csv.
    """
    for kind, name, known in (("scenario", scenario, ROUTING), ("capture", capture, CAPTURES)):
        if name not in known:
            raise StageError(f"there is no {kind} {name!r}; there are {', '.join(known)}")
    archive = network / "routing" / scenario
    shutil.copytree(archive / "mrt", folder / "mrt")
    shutil.copy(archive / "index.csv", folder)
    for name in CAPTURES:
        shutil.copy(network / "captures" / f"{name}.pcap", folder)
    shutil.copy(network / "captures" / f"{capture}.pcap", folder / "capture.pcap")
    for name in MEASUREMENTS:
        shutil.copy(network / "measurements" / f"{name}.csv", folder)


def run_script(
    script: Path,
    folder: Path,
    state: Path,
    timeout: float,
    now: int | None = None,
    show: bool = False,
    arguments: Sequence[str] = (),
) -> ScriptRun:
    """Run `script` in the furnished `folder` for at most `timeout` seconds.

    `state` is a folder outside of it, for the replay's configuration and log. `now` is the time that live streams
    begin at, None the real one. `show` leaves stdout and stderr on the terminal; the ScriptRun's are empty then.
    `arguments` become the script's `sys.argv[1:]`.
    """
    state.mkdir(parents=True, exist_ok=True)
    config, log = state / "replay.json", state / "log.jsonl"
    log.unlink(missing_ok=True)
    settings = {"archive": str(folder.resolve()), "log": str(log.resolve()), "now": now}
    config.write_text(json.dumps(settings), encoding="utf-8")
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | FIXED
    environment |= {CONFIG: str(config.resolve()), "HOME": str(state.resolve()), "PYTHONPATH": str(SHIMS)}
    before = _stamp_files(folder)
    started = time.monotonic()
    # Files, not pipes: a pipe stays open while any child has it, and what is printed without end would fill our memory.
    with (state / "stdout").open("w+b") as stdout, (state / "stderr").open("w+b") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", LAUNCHER, str(FILE_LIMIT), sys.executable, script.resolve(), *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=None if show else stdout,
            stderr=None if show else stderr,
            start_new_session=True,
        )
        try:
            exit_code: int | None = process.wait(timeout)
        except subprocess.TimeoutExpired:
            exit_code = None
            _interrupt(process)
        finally:
            _kill(process)
        seconds = time.monotonic() - started
        printed, complained = _read_end(stdout), _read_end(stderr)
    after = _stamp_files(folder)
    return ScriptRun(
        exit_code=exit_code,
        seconds=seconds,
        stdout=printed,
        stderr=complained,
        files=sorted(path for path, stamp in after.items() if before.get(path) != stamp),
        removed=sorted(before.keys() - after.keys()),
        log=_read_events(log),
    )


def _interrupt(process: "subprocess.Popen[bytes]") -> None:
    """As by Ctrl-C: the traceback says where the script was, and the replay writes down what it had read."""
    with contextlib.suppress(ProcessLookupError, PermissionError, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGINT)
        process.wait(GRACE)


def _read_end(file: BinaryIO) -> str:
    file.seek(max(0, file.seek(0, os.SEEK_END) - SHOWN))
    return file.read(SHOWN).decode("utf-8", errors="replace")


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """The script and what it started and left behind: all of its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _stamp_files(folder: Path) -> dict[Path, tuple[int, int]]:
    stamps = {}
    for path in folder.rglob("*"):
        if not path.is_dir() and "__pycache__" not in path.parts:
            stat = path.lstat()
            stamps[path] = (stat.st_mtime_ns, stat.st_size)
    return stamps


def _read_events(log: Path) -> list[dict[str, Any]]:
    """The log's events; a line that a killed script left half-written is dropped."""
    if not log.is_file():
        return []
    events = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events
