"""Python code + a built network -> what it printed, what it wrote, and how it used the pybgpstream replay.

The code runs as a process of its own, in a folder that holds copies of the network's files (never its truth) and with
`path/` on its PYTHONPATH. That keeps it apart from this project, not from this machine: it has its user's rights.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.errors import StageError
from stages.network.captures.write import CAPTURES
from stages.network.internet.scenarios import ROUTING
from stages.network.measurements.write import MEASUREMENTS

PATH = Path(__file__).parent / "path"
CONFIG = "PYBGPSTREAM_REPLAY"
SCENARIO, CAPTURE = "mixed", "mixed"
# What a process needs to start at all. Everything else stays here: the environment holds API keys.
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Run:
    """How a script ended. `exit_code` is None where the time was up; `files` are the ones it wrote or changed."""

    exit_code: int | None
    seconds: float
    stdout: str
    stderr: str
    files: list[Path]
    log: list[dict[str, Any]]
    """The events of the pybgpstream replay; path/pybgpstream/__init__.py documents them."""

    def misuses(self) -> list[dict[str, Any]]:
        return [event for event in self.log if event["event"] == "misuse"]

    def consumed(self) -> tuple[int, int, int]:
        """Streams read, records, elements."""
        streams = [event for event in self.log if event["event"] == "consumed"]
        return len(streams), sum(stream["records"] for stream in streams), sum(stream["elems"] for stream in streams)


def furnish(folder: Path, network: Path, scenario: str = SCENARIO, capture: str = CAPTURE) -> None:
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
    script: Path, folder: Path, state: Path, timeout: float, now: int | None = None, show: bool = False
) -> Run:
    """Run `script` in the furnished `folder` for at most `timeout` seconds.

    `state` is a folder outside of it, for the replay's configuration and log. `now` is the time that live streams
    begin at, None the real one. `show` leaves stdout and stderr on the terminal; the Run's are empty then.
    """
    state.mkdir(parents=True, exist_ok=True)
    config, log = state / "replay.json", state / "log.jsonl"
    log.unlink(missing_ok=True)
    settings = {"archive": str(folder.resolve()), "log": str(log.resolve()), "now": now}
    config.write_text(json.dumps(settings), encoding="utf-8")
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {
        CONFIG: str(config.resolve()),
        "HOME": str(state.resolve()),
        "MPLBACKEND": "Agg",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": str(PATH),
        "PYTHONUNBUFFERED": "1",
    }
    before = _stamps(folder)
    started = time.monotonic()
    pipe = None if show else subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, str(script.resolve())],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=timeout)
        exit_code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        exit_code = None
        _kill(process)
        stdout, stderr = process.communicate()
    finally:
        _kill(process)
    after = _stamps(folder)
    return Run(
        exit_code=exit_code,
        seconds=time.monotonic() - started,
        stdout=stdout or "",
        stderr=stderr or "",
        files=sorted(path for path, stamp in after.items() if before.get(path) != stamp),
        log=_events(log),
    )


def _kill(process: "subprocess.Popen[str]") -> None:
    """The script and whatever it started and left behind: all of its process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    stamps = {}
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            stat = path.stat()
            stamps[path] = (stat.st_mtime_ns, stat.st_size)
    return stamps


def _events(log: Path) -> list[dict[str, Any]]:
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
