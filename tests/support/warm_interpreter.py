"""Runs scripts that the project ships in processes forked from one that has imported their libraries.

    with open_warm_interpreter() as warm:
        run = run_code(code, scenario, network, folder, warm)

It takes a sandbox's place where the question is what a script of ours prints, not what it is kept from: to start Python
in a sandbox and import pandas, Scapy and Matplotlib takes longer than most scripts. It keeps a script from nothing but
endless time and memory; see tests/data/test_in_sandbox.py for the same scripts in the sandbox.
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from tests.support.forked_ends import end_fork

ROOT = Path(__file__).parents[2]
LIBRARIES = ("numpy", "pandas", "matplotlib.pyplot", "scapy.all")


@contextlib.contextmanager
def open_warm_interpreter() -> Iterator[Any]:
    """A `Sandbox` by its methods. It ends with the block."""
    from netllama.sandbox.levels import NONE, Level
    from netllama.sandbox.sandbox import FIXED, READ, SHOWN, STARTUP, Mount, Sandbox, SandboxRun, ScriptJob

    @dataclass(frozen=True)
    class WarmInterpreter(Sandbox):
        asked: IO[str]
        told: IO[str]

        def run(self, job: ScriptJob, show: bool = False) -> SandboxRun:
            assert not show
            with tempfile.TemporaryDirectory(prefix="warm-") as place:
                notes = Path(place) / "notes"
                paths = [job.state / "stdout", job.state / "stderr"]
                given = {
                    "script": str(job.script),
                    "folder": str(job.folder),
                    "arguments": job.arguments,
                    "stdout": str(paths[0]),
                    "stderr": str(paths[1]),
                    "startup": str(STARTUP / "sitecustomize.py"),
                    "importable": [self.locate(mount) for mount in job.importable],
                    "environment": {
                        "HOME": place,
                        "TMPDIR": place,
                        "SANDBOX_NOTES": self.locate(Mount("notes", notes)),
                        **job.environment,
                    },
                    "limits": [int(job.limits.cpu_seconds), job.limits.memory_bytes],
                }
                self.asked.write(json.dumps(given) + "\n")
                self.asked.flush()
                status, seconds, peak = json.loads(self.told.readline())
                noted = notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []
            printed, complained = (path.read_text(encoding="utf-8", errors="replace")[-SHOWN:] for path in paths)
            return SandboxRun(
                exit_code=os.waitstatus_to_exitcode(status),
                ended="exit",
                seconds=seconds,
                cpu_seconds=seconds,
                peak_bytes=peak,
                stdout=printed,
                stderr=complained,
                network=tuple(note for note in noted if not note.startswith(READ)),
                opened=tuple(note.removeprefix(READ) for note in noted if note.startswith(READ)),
            )

    with tempfile.TemporaryDirectory(prefix="warm-home-") as home:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.warm_interpreter"],
            cwd=ROOT,
            env=FIXED | {"HOME": home, "MPLBACKEND": "Agg", "PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin
        assert process.stdout
        try:
            yield WarmInterpreter(Level(NONE), process.stdin, process.stdout)
        finally:
            process.stdin.close()
            process.wait(60)


def serve() -> None:
    """Answer each line of stdin, a job, with a line: [wait status, processor seconds, peak memory]."""
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()  # so that no child copies these libraries' pages to collect garbage
    while line := sys.stdin.readline():
        child = os.fork()
        if not child:
            code = become_script(json.loads(line))
            sys.modules["__main__"] = ModuleType("__main__")  # the script's own goes, with what it left open
            end_fork(code)
        _, status, usage = os.wait4(child, 0)
        print(json.dumps([status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024]), flush=True)


def become_script(job: dict[str, Any]) -> object:
    """Run it as `__main__`; the code that its process is to end with."""
    seconds, octets = job["limits"]
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_AS, (octets, octets))
    for number, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, job["stdout"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, job["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(name, flags)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.update(job["environment"])
    tempfile.tempdir = None
    os.chdir(job["folder"])
    sys.path[:1] = [str(Path(job["script"]).parent), *job["importable"]]
    sys.argv[:] = [job["script"], *job["arguments"]]
    main = ModuleType("__main__")
    main.__dict__["__file__"] = job["script"]
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    code = compile(Path(job["script"]).read_bytes(), job["script"], "exec")
    startup = compile(Path(job["startup"]).read_bytes(), job["startup"], "exec")
    exec(startup, {"__name__": "sitecustomize"})
    try:
        exec(code, main.__dict__)
    except SystemExit as ended:
        return ended.code
    except Exception as error:
        # Without the frames of this file
        traceback.print_exception(error.with_traceback(error.__traceback__ and error.__traceback__.tb_next))
        return 1
    return 0


if __name__ == "__main__":
    serve()
