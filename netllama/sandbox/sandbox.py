"""Runs a Python script that nobody has read, kept from everything but what it is given.

    sandbox = find_sandbox()
    run = sandbox.run(ScriptJob(script=..., folder=..., state=...))

The script runs as a process of its own on the strongest level that the machine offers (levels.py). Nothing of it runs
in this process, so it can neither change nor fake what a caller computes from its files. Thread-safe.
"""

import marshal
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from netllama.core.errors import StageError
from netllama.core.temporary_folders import hold_folder
from netllama.sandbox.echo import echo_files, escape_controls
from netllama.sandbox.exchange import LaunchPlan, LaunchReport, Limits, pack_plan
from netllama.sandbox.launcher import BOOT
from netllama.sandbox.levels import BUBBLEWRAP, NAMESPACES, NONE, Level, describe_level, wrap_command
from netllama.sandbox.tidying import tidy_folder
from netllama.sandbox.view import ROOM, ViewEntry, list_system_entries

STARTUP = Path(__file__).parent / "startup"
PROJECT = Path(__file__).parents[2]
FIXED = {
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONNOUSERSITE": "1",
    "TZ": "UTC",
}
"""The same output on every machine: sets of str, for instance, are ordered by the hash seed. Threads of their own for
matrices, and 64 MB of address space for each thread's allocations, would hit the limits on a machine of many cores.
"""
SHOWN = 2**20
"""Octets of stdout and of stderr that a run keeps, the last ones."""
MOST_ATTEMPTS = 100
"""To reach the network, that a run lists."""
READ = "read "
"""How a note of a file that was opened begins (startup/sitecustomize.py)."""
LATE = 10.0
"""Seconds after its limits at which a launcher that has not ended is killed."""


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine, and its name in the sandbox."""

    name: str
    path: Path


@dataclass(frozen=True)
class ScriptJob:
    """A script and what it gets."""

    script: Path
    folder: Path
    """Its working directory, the only folder that it can write (/tmp vanishes with it)."""
    state: Path
    """An existing folder for stdout and the like, which the script does not see."""
    arguments: tuple[str, ...] = ()
    readable: tuple[Mount, ...] = ()
    writable: tuple[Mount, ...] = ()
    """Files, beside the working directory."""
    importable: tuple[Mount, ...] = ()
    """Folders of packages, in front of the installed ones."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside FIXED; nothing of this process's environment is passed on."""
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class SandboxRun:
    """How a script ended."""

    exit_code: int | None
    """Negative where a signal ended it; None where a limit did."""
    ended: str
    """exit, or the limit that ended it: see supervisor.LaunchReport."""
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    stdout: str
    """The last SHOWN octets; empty where the script printed to the terminal itself."""
    stderr: str
    network: tuple[str, ...]
    """What the script tried to reach, in its order; one line for what it tried without Python."""
    opened: tuple[str, ...]
    """Files that it opened with Python to read, relative to its working directory."""


@dataclass(frozen=True)
class Sandbox:
    """One level of isolation, which is known to work here."""

    level: Level

    @property
    def statement(self) -> str:
        """What is kept from a script and what is not, for people."""
        return describe_level(self.level)

    @property
    def moves_files(self) -> bool:
        """Whether a script sees its files at fixed paths, the same on every machine."""
        return self.level.name in (NAMESPACES, BUBBLEWRAP)

    def locate(self, mount: Mount) -> str:
        """Where the script sees a mount."""
        return f"{ROOM}/{mount.name}" if self.moves_files else str(mount.path.resolve())

    def run(self, job: ScriptJob, show: bool = False) -> SandboxRun:
        """Run a script to its end. `show` prints its stdout and stderr as they come; without a sandbox, which it would
        get the better of anyway, the script prints them itself, and the run has none.

        StageError if it cannot be started.
        """
        started = time.monotonic()
        with (
            (job.state / "stdout").open("w+b") as stdout,
            (job.state / "stderr").open("w+b") as stderr,
            hold_folder(tempfile.gettempdir(), "sandbox-") as place,
            tempfile.TemporaryFile() as exchange,
        ):
            place.chmod(0o711)  # the script's user may differ from ours
            notes = place / "notes"
            notes.touch()
            plan = self._plan(job, place, notes)
            trusted = show and self.level.name == NONE
            echoed = [(stdout, 1), (stderr, 2)] if show and not trusted else []
            try:
                with echo_files(echoed):
                    self._launch(plan, exchange, None if trusted else (stdout, stderr))
            finally:
                tidy_folder(job.folder)
            exchange.seek(0)
            report = _read_report(exchange)
            with notes.open("rb") as file:
                noted = file.read(SHOWN).decode("utf-8", errors="replace").splitlines()
            noted = list(map(escape_controls, noted))  # the script can write there, too
            printed, complained = (_read_end(file) for file in (stdout, stderr))
        if report.problem:
            raise StageError(f"{job.script.name} was not started: sandbox level {self.level.name}: {report.problem}")
        tried = [note for note in noted if not note.startswith(READ)][:MOST_ATTEMPTS]
        if report.unroutable and not tried:
            tried = ["send what found no route"]
        ended_itself = report.ended == "exit" and report.status is not None
        return SandboxRun(
            exit_code=os.waitstatus_to_exitcode(report.status) if ended_itself and report.status is not None else None,
            ended=report.ended,
            seconds=time.monotonic() - started,
            cpu_seconds=report.cpu_seconds,
            peak_bytes=report.peak_bytes,
            stdout=printed,
            stderr=complained,
            network=tuple(tried),
            opened=tuple(note.removeprefix(READ) for note in noted if note.startswith(READ)),
        )

    def _launch(self, plan: LaunchPlan, exchange: BinaryIO, outputs: tuple[BinaryIO, BinaryIO] | None) -> None:
        """Start the launcher and wait for its end; `outputs`: for stdout and stderr, None: those of this process."""
        write_plan(plan, exchange)
        boot = BOOT.format(root=self._root_of_launcher(), exchange=exchange.fileno())
        stdout, stderr = outputs or (None, None)
        process = subprocess.Popen(
            [*wrap_command(self.level, plan.entries), "-I", "-S", "-c", boot],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin"} | list_libraries(),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=[exchange.fileno()],
            start_new_session=True,
        )
        try:
            process.wait(plan.limits.wall_seconds + LATE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            stop_process(process)

    def _root_of_launcher(self) -> str:
        return f"{ROOM}/launcher" if self.level.name == BUBBLEWRAP else str(PROJECT)

    def _plan(self, job: ScriptJob, place: Path, notes: Path) -> LaunchPlan:
        base, temporary = place / "root", place / "tmp"
        base.mkdir()
        temporary.mkdir()
        home = "/tmp" if self.moves_files else str(temporary)
        importable = [Mount("startup", STARTUP), *job.importable]
        environment = {
            **FIXED,
            **list_libraries(),
            "HOME": home,
            "TMPDIR": home,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
            "PYTHONPATH": os.pathsep.join(map(self.locate, importable)),
            "SANDBOX_NOTES": self.locate(Mount("notes", notes)),
            **job.environment,
        }
        script = self.locate(Mount(f"script/{job.script.name}", job.script))
        return LaunchPlan(
            level=self.level.name,
            entries=self._list_entries(job, place, notes),
            base=str(base),
            folder=self.locate(Mount("cwd", job.folder)),
            parent=os.getpid(),
            command=[sys.executable, script, *job.arguments],
            environment=environment,
            limits=job.limits,
        )

    def _list_entries(self, job: ScriptJob, place: Path, notes: Path) -> list[ViewEntry]:
        names = str(STARTUP / "resolv.conf") if self.moves_files else "/etc/resolv.conf"
        entries = list_system_entries(_list_roots(), names)
        readable = [
            Mount("startup", STARTUP),
            Mount(f"script/{job.script.name}", job.script),
            *job.importable,
            *job.readable,
        ]
        if self.level.name == BUBBLEWRAP:
            readable.append(Mount("launcher/netllama/sandbox", Path(__file__).parent))
        writable = [Mount("cwd", job.folder), Mount("notes", notes), *job.writable]
        if not self.moves_files:
            writable.append(Mount("tmp", place / "tmp"))
        for kind, mounts in (("read", readable), ("write", writable)):
            entries += [ViewEntry(kind, str(each.path.resolve()), f"{ROOM}/{each.name}") for each in mounts]
        return entries


def _list_roots() -> list[str]:
    """The folders in which Python and its packages are installed, each once."""
    found = {sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parents[1])}
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path's own fails where a container's user has none
    roots: list[str] = []
    for root in sorted(found, key=len):
        if any(Path(other) in (Path(root), *Path(root).parents) for other in [*roots, "/usr"]):
            continue
        if Path(root) in (home, *home.parents, PROJECT, *PROJECT.parents):
            raise StageError(f"Python is installed in {root}, with your files; use a virtual environment of its own")
        roots.append(root)
    return roots


def list_libraries() -> dict[str, str]:
    """LD_LIBRARY_PATH as far as it names folders of Python's, which may not start without them."""
    given = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    own = [path for path in given if any(Path(path).is_relative_to(root) for root in _list_roots())]
    return {"LD_LIBRARY_PATH": os.pathsep.join(own)} if own else {}


def write_plan(plan: LaunchPlan, exchange: BinaryIO) -> None:
    exchange.seek(0)
    exchange.write(marshal.dumps(pack_plan(plan)))
    exchange.flush()


def stop_process(process: "subprocess.Popen[bytes]") -> None:
    """End a launcher that has not ended, and all that it started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(LATE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _read_report(exchange: BinaryIO) -> LaunchReport:
    try:
        return LaunchReport(**marshal.loads(exchange.read()))
    except (ValueError, TypeError, EOFError):
        return LaunchReport(ended="stopped")  # the plan is still there: the launcher was killed


def _read_end(file: BinaryIO) -> str:
    file.seek(max(0, file.seek(0, os.SEEK_END) - SHOWN))
    return file.read(SHOWN).decode("utf-8", errors="replace")
