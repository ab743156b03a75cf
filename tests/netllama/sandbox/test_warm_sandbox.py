"""A script that starts in a warm process does what it does in a new one, is kept from as much, and shares nothing."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from netllama.sandbox.exchange import Limits
from netllama.sandbox.levels import BUBBLEWRAP, list_levels
from netllama.sandbox.sandbox import Sandbox, SandboxRun, ScriptJob
from netllama.sandbox.sandbox_choice import find_problem
from netllama.sandbox.warm_sandbox import WarmSandbox

LEVELS = [level for level in list_levels() if level.name != BUBBLEWRAP and not find_problem(level)]
every_level = pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
LIBRARIES = ("decimal", "no_such_library")
SCRIPTS = {
    "words": "import sys\nprint('ä', sys.argv[1:], __name__, __file__.rpartition('/')[2])\nprint('e', file=sys.stderr)",
    "an error": "def f():\n    raise ValueError('of mine')\nf()",
    "a syntax error": "print(",
    "an exit code": "import sys\nsys.exit(3)",
    "an exit with words": "raise SystemExit('no data')",
    "a signal": "import os\nos.kill(os.getpid(), 9)",
    "an exit function": "import atexit\natexit.register(print, 'bye')\n1/0",
    "a thread": "import threading, time\nthreading.Timer(0.1, print, ['later']).start()",
    "a broken pipe": "import signal as s\nprint(s.getsignal(s.SIGPIPE), s.getsignal(s.SIGINT).__name__)",
    "a child": "import subprocess, sys\nprint(subprocess.check_output([sys.executable, '-c', 'print(6 * 7)']))",
    "a pool": "import multiprocessing as m\nif __name__ == '__main__':\n    with m.get_context('fork').Pool(2) as p:\n"
    "        print(p.map(abs, [-1, -2]))",
    "pickled classes": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))), A.__module__)",
    "its order of sets": "print({str(number) for number in range(20)}, hash('x'))",
    "where it is": "import os, sys\nprint(os.listdir('.'), sys.path[1:], sorted(os.environ), len(sys.orig_argv))",
    "time zone": "import time\nprint(time.tzname)",
    "descriptors": "import os\nprint(sorted(os.listdir('/proc/self/fd'))[:3])",
    "this project": "import netllama",
    "capabilities": "print([line for line in open('/proc/self/status') if line[:6] in ('CapEff', 'CapPrm', 'NoNewP')])",
    "other processes": "import os\nprint(sorted(name for name in os.listdir('/proc') if name.isdigit())[:3])",
    "a mount": "import ctypes\nprint(ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None), ctypes.get_errno())",
    "a socket": "import socket\nsocket.create_connection(('192.0.2.1', 80), 1)",
    "too much memory": "x = bytearray(2**34)",
    "its folder": "open('new.txt', 'w').write('x')\nopen('new.txt').read()",
}
Run = Callable[..., SandboxRun]


@pytest.fixture
def run_in(tmp_path: Path) -> Run:
    count = iter(range(1000))

    def run(sandbox: Sandbox, code: str, limits: Limits | None = None) -> SandboxRun:
        place = tmp_path / str(next(count))
        (place / "cwd").mkdir(parents=True)
        script = place / "script.py"
        script.write_text(code, encoding="utf-8")
        limits = limits or Limits(wall_seconds=60, memory_bytes=2**32)
        return sandbox.run(ScriptJob(script, place / "cwd", place, ("a b", "--c"), limits=limits))

    return run


def describe(run: SandboxRun, sandbox: Sandbox) -> list[object]:
    shown = [run.exit_code, run.ended, run.network, run.opened, run.stdout, run.stderr]
    return shown if sandbox.moves_files else shown[:4]  # else paths are those of this run


@every_level
def test_a_script_does_the_same_in_a_warm_process(level: object, run_in: Run) -> None:
    cold = Sandbox(level)  # type: ignore[arg-type]
    with WarmSandbox(cold.level, LIBRARIES) as warm:
        for name, code in SCRIPTS.items():
            assert describe(run_in(warm, code), warm) == describe(run_in(cold, code), cold), name


@every_level
def test_scripts_share_nothing_but_what_was_imported_before(level: object, run_in: Run) -> None:
    writes = "import decimal, os, sys\ndecimal.left = 1\nos.environ['LEFT'] = '1'\nopen('/tmp/left', 'w').close()"
    looks = "import decimal, os\nprint(hasattr(decimal, 'left'), 'LEFT' in os.environ, os.path.exists('/tmp/left'))"
    with WarmSandbox(level, LIBRARIES) as warm:  # type: ignore[arg-type]
        run_in(warm, writes)
        assert run_in(warm, looks).stdout == "False False False\n"
        assert run_in(warm, "import sys\nprint('decimal' in sys.modules)").stdout == "True\n"


@every_level
@pytest.mark.parametrize(
    ("code", "limits", "ended"),
    [
        ("while True:\n    pass", Limits(cpu_seconds=1), "CPU time"),
        ("import time\ntime.sleep(600)", Limits(wall_seconds=1), "wall time"),
        ("import time\ntime.sleep(600)", Limits(idle_seconds=1), "idle time"),
        ("while True:\n    print('x' * 10**6)", Limits(output_bytes=10**7), "output"),
    ],
)
def test_a_limit_ends_it_with_a_traceback(level: object, run_in: Run, code: str, limits: Limits, ended: str) -> None:
    with WarmSandbox(level, ()) as warm:  # type: ignore[arg-type]
        run = run_in(warm, code, limits)
        assert (run.exit_code, run.ended) == (None, ended)
        assert ended == "output" or "KeyboardInterrupt" in run.stderr
        assert run_in(warm, "print(1)").stdout == "1\n"


@every_level
def test_a_server_that_was_killed_is_replaced(level: object, run_in: Run) -> None:
    with WarmSandbox(level, ()) as warm:  # type: ignore[arg-type]
        assert run_in(warm, "print(1)").stdout == "1\n"
        server = warm._idle.get()
        warm._idle.put(server)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        assert run_in(warm, "print(2)").stdout == "2\n"
    assert server.process.poll() is not None


@every_level
def test_a_script_is_not_idle_while_it_computes(level: object, run_in: Run) -> None:
    code = "import time\nends = time.process_time() + 1.5\nwhile time.process_time() < ends:\n    pass\nprint(1)"
    with WarmSandbox(level, ()) as warm:  # type: ignore[arg-type]
        assert run_in(warm, code, Limits(idle_seconds=1)).stdout == "1\n"
        assert run_in(Sandbox(warm.level), code, Limits(idle_seconds=1)).stdout == "1\n"
