"""Python code + a built network -> what it printed, what it wrote, and how it used the pybgpstream replay.

The code runs in the sandbox of netllama/sandbox, in a folder that holds copies of the network's files (never its truth)
and with `shims/`, which it can only read, in front of the installed packages.
"""

import compileall
import json
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from netllama.core.errors import StageError
from netllama.sandbox.exchange import Limits
from netllama.sandbox.sandbox import Mount, Sandbox, ScriptJob
from testbed.captures.capture_files import CAPTURES
from testbed.internet.scenarios import ROUTING
from testbed.measurements.measurement_files import MEASUREMENTS
from testbed.replay_log import read_log

SHIMS = Path(__file__).parent / "shims"
CONFIG = "PYBGPSTREAM_REPLAY"
SCENARIO, CAPTURE = "mixed", "mixed"
FIXED = {"MPLBACKEND": "Agg", "PYTHONUNBUFFERED": "1"}
HANDLED = ("missing-field", "unknown-attribute")
"""Kinds of misuse that correct code may provoke on purpose: it asks, and handles the exception."""
_ENDINGS = {
    "wall time": "time is up",
    "CPU time": "time is up: it used too much processor time",
    "idle time": "time is up: it only slept",
    "memory": "stopped: it used too much memory",
    "output": "stopped: it printed too much",
    "disk": "stopped: it wrote too much",
    "stopped": "stopped from outside",
}


@dataclass(frozen=True)
class ScriptRun:
    """How a script ended. `exit_code` is None where a limit ended it, negative where a signal did."""

    exit_code: int | None
    ended: str
    """exit, or the limit: wall time, CPU time, idle time, memory, output, disk; stopped: from outside."""
    seconds: float
    cpu_seconds: float
    stdout: str
    stderr: str
    files: list[Path]
    """Written or changed."""
    removed: list[Path]
    log: list[dict[str, Any]]
    """The events of the pybgpstream replay; shims/_pybgpstream/__init__.py documents them. Their texts are escaped."""
    unreadable: int = 0
    """Lines of the log that are no such events: the script has written into it."""
    network: tuple[str, ...] = ()
    """What it tried to reach outside."""
    opened: tuple[str, ...] = ()
    """Files of its working directory that it opened to read."""

    def describe_end(self) -> str:
        if self.exit_code is None:
            return _ENDINGS[self.ended]
        return f"killed by {signal.Signals(-self.exit_code).name}" if self.exit_code < 0 else f"exit {self.exit_code}"

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
    sandbox: Sandbox,
    limits: Limits,
    now: int | None = None,
    show: bool = False,
    arguments: Sequence[str] = (),
) -> ScriptRun:
    """Run `script` in the furnished `folder`, within `limits`.

    `state` is a folder outside of it, for the replay's configuration and log. `now` is the time that live streams
    begin at, None the real one. `show` prints stdout and stderr as they come. `arguments` become the script's
    `sys.argv[1:]`.
    """
    state.mkdir(parents=True, exist_ok=True)
    config, log = Mount("replay.json", state / "replay.json"), Mount("log.jsonl", state / "log.jsonl")
    log.path.unlink(missing_ok=True)
    log.path.touch()
    settings = {"archive": sandbox.locate(Mount("cwd", folder)), "log": sandbox.locate(log), "now": now}
    config.path.write_text(json.dumps(settings), encoding="utf-8")
    _compile_shims()
    before = _stamp_files(folder)
    run = sandbox.run(
        ScriptJob(
            script=script,
            folder=folder,
            state=state,
            arguments=tuple(arguments),
            readable=(config,),
            writable=(log,),
            importable=(Mount("shims", SHIMS),),
            environment=FIXED | {CONFIG: sandbox.locate(config)},
            limits=limits,
        ),
        show,
    )
    after = _stamp_files(folder)
    events, unreadable = read_log(log.path)
    return ScriptRun(
        exit_code=run.exit_code,
        ended=run.ended,
        seconds=run.seconds,
        cpu_seconds=run.cpu_seconds,
        stdout=run.stdout,
        stderr=run.stderr,
        files=sorted(path for path, stamp in after.items() if before.get(path) != stamp),
        removed=sorted(before.keys() - after.keys()),
        log=events,
        unreadable=unreadable,
        network=run.network,
        opened=run.opened,
    )


@cache
def _compile_shims() -> None:
    """Scripts cannot write their bytecode: compiling them anew would take 40 ms of each."""
    compileall.compile_dir(SHIMS, quiet=2)


def _stamp_files(folder: Path) -> dict[Path, tuple[int, int]]:
    stamps = {}
    for path in folder.rglob("*"):
        if not path.is_dir() and "__pycache__" not in path.parts:
            stat = path.lstat()
            stamps[path] = (stat.st_mtime_ns, stat.st_size)
    return stamps
