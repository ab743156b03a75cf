"""What a script gets in the sandbox, what a run tells about it, and what happens where there is no sandbox."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netllama.core.errors import StageError
from netllama.sandbox import landlock, sandbox_choice
from netllama.sandbox.exchange import Limits
from netllama.sandbox.levels import LANDLOCK, NAMESPACES, NONE, Level, list_levels
from netllama.sandbox.sandbox import Mount, Sandbox, SandboxRun, ScriptJob
from netllama.sandbox.sandbox_choice import find_problem, find_sandbox
from netllama.sandbox.tidying import tidy_folder
from netllama.sandbox.view import DEEPEST, measure_folder
from tests.support.clones import ROOT
from tests.support.processes import is_running, list_children, list_processes

LEVELS = [level for level in list_levels() if not find_problem(level)]
every_level = pytest.mark.parametrize("level", [*LEVELS, Level(NONE)], ids=lambda level: level.name)
every_sandbox = pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
RunCode = Callable[..., SandboxRun]


def keeps_signals_in(level: Level) -> bool:
    return level.name != LANDLOCK or landlock.find_abi() >= landlock.SIGNALS_ABI


def find_descendant(text: str, generation: int) -> int:
    """A child (1) or grandchild (2) of this process, the first of which has `text` in its command line."""
    children = [pid for pid in list_processes(text) if pid in list_children([os.getpid()])]
    for _ in range(generation - 1):
        children = list_children(children)
    (found,) = children
    return found


@pytest.fixture
def run_code(tmp_path: Path) -> RunCode:
    def run(level: Level, code: str, *arguments: str, limits: Limits | None = None, **more: object) -> SandboxRun:
        (tmp_path / "cwd").mkdir(exist_ok=True)
        script = tmp_path / "script.py"
        script.write_text(code, encoding="utf-8")
        limits = limits or Limits(wall_seconds=60)
        job = ScriptJob(script, tmp_path / "cwd", tmp_path, arguments, limits=limits, **more)  # type: ignore[arg-type]
        return Sandbox(level).run(job)

    return run


@every_level
def test_a_script_gets_its_arguments_its_folder_and_its_mounts(level: Level, run_code: RunCode, tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "given.py").write_text("value = 7\n")
    (tmp_path / "data.txt").write_text("data")
    (tmp_path / "log.txt").write_text("before\n")
    data, log = Mount("data.txt", tmp_path / "data.txt"), Mount("log.txt", tmp_path / "log.txt")
    code = (
        "import given, os, sys\n"
        "open('result', 'w').write(' '.join([str(given.value), open(os.environ['DATA']).read(), *sys.argv[1:]]))\n"
        "open(os.environ['LOG'], 'a').write('after\\n')\n"
        "print(os.getcwd() == os.environ['HERE'])\n"
    )
    sandbox = Sandbox(level)
    here = sandbox.locate(Mount("cwd", tmp_path / "cwd"))
    environment = {"DATA": sandbox.locate(data), "LOG": sandbox.locate(log), "HERE": here}
    importable = (Mount("packages", tmp_path / "packages"),)
    run = run_code(
        level, code, "a b", "--c", readable=(data,), writable=(log,), importable=importable, environment=environment
    )
    assert (run.exit_code, run.ended, run.stdout, run.stderr) == (0, "exit", "True\n", "")
    assert (tmp_path / "cwd" / "result").read_text() == "7 data a b --c"
    assert log.path.read_text() == "before\nafter\n"


@every_level
def test_the_files_of_its_folder_that_a_script_reads_are_known(level: Level, run_code: RunCode) -> None:
    code = (
        "import os, pathlib, sys\n"
        "open('written', 'w').write('x')\nopen('changed', 'a').close()\nos.mkdir('a')\n"
        "pathlib.Path('a/b\\n').write_text('y')\nopen('./written').read()\nopen(b'written', 'rb').close()\n"
        "os.close(os.open(os.path.abspath('changed'), os.O_RDONLY))\n"
        "os.chdir('a')\nopen('../a/b\\n').close()\nopen(__file__).close()\n"
        "os.chdir('..')\nos.mkdir('c')\nos.chdir('c')\nos.rmdir('../c')\n"
        "try:\n    open('gone')\nexcept FileNotFoundError:\n    print('gone')\n"
    )
    run = run_code(level, code)
    assert (run.exit_code, run.stdout) == (0, "gone\n"), run.stderr
    assert run.opened == ("written", "changed", "a/b\\n")
    assert run.network == ()


@every_level
def test_the_same_script_prints_the_same_every_time(level: Level, run_code: RunCode) -> None:
    code = "import time\nprint(set('abcdefgh'), hash('x'), time.tzname, 'ä')\n"
    first, second = run_code(level, code), run_code(level, code)
    assert first.stdout == second.stdout
    assert "('UTC', 'UTC') ä" in first.stdout


@pytest.mark.skipif(Level(NAMESPACES) not in LEVELS, reason="no namespaces here")
def test_in_namespaces_paths_are_the_same_on_every_machine(run_code: RunCode) -> None:
    code = "import os\nprint(os.getcwd(), __file__, os.getpid(), *sorted(os.listdir('/sandbox')))\n1/0\n"
    run = run_code(Level(NAMESPACES), code)
    assert run.stdout == "/sandbox/cwd /sandbox/script/script.py 2 cwd notes script startup\n"
    assert 'File "/sandbox/script/script.py", line 3' in run.stderr


@every_level
@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("raise SystemExit(3)", 3), ("import os\nos.kill(os.getpid(), 9)", -9), ("1/0", 1), ("import os\nos.abort()", -6)],
)
def test_an_exit_code_is_the_scripts(level: Level, run_code: RunCode, code: str, exit_code: int) -> None:
    run = run_code(level, code)
    assert (run.exit_code, run.ended) == (exit_code, "exit")


@every_level
def test_processor_time_and_memory_are_measured_over_all_processes(level: Level, run_code: RunCode) -> None:
    code = (
        "import os, time\n"
        "for _ in range(2):\n"
        "    if os.fork() == 0:\n"
        "        x = bytearray(b'x') * (100 * 2**20)\n"
        "        while time.process_time() < 0.4: pass\n"
        "        os._exit(0)\n"
        "os.wait(), os.wait()\n"
    )
    run = run_code(level, code)
    assert 0.8 < run.cpu_seconds < 3
    assert run.peak_bytes > 90 * 2**20


@every_level
def test_time_ends_a_script_with_a_traceback(level: Level, run_code: RunCode) -> None:
    run = run_code(level, "import time\ntime.sleep(60)\n", limits=Limits(wall_seconds=0.5))
    assert (run.exit_code, run.ended) == (None, "wall time")
    assert "line 2" in run.stderr
    assert "KeyboardInterrupt" in run.stderr


@every_sandbox
def test_libraries_that_analysis_scripts_use_work(level: Level, run_code: RunCode) -> None:
    code = (
        "import subprocess, tempfile, concurrent.futures\n"
        "import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt\nimport pandas\n"
        "from scapy.all import IP, TCP, Ether, rdpcap, wrpcap\n"
        "frame = Ether(src='02:00:00:00:00:01', dst='02:00:00:00:00:02')\n"
        "wrpcap('x.pcap', [frame / IP(src='192.0.2.2', dst='192.0.2.1') / TCP()])\n"
        "plt.plot([1, 2])\nplt.savefig('x.png')\n"
        "tempfile.mkdtemp()\n"
        "with concurrent.futures.ThreadPoolExecutor(8) as pool: list(pool.map(abs, range(9)))\n"
        "print(len(rdpcap('x.pcap')), pandas.Series([1, 2]).sum(), subprocess.check_output(['echo', 'x']))\n"
    )
    run = run_code(level, code)
    assert (run.exit_code, run.stdout) == (0, "1 3 b'x\\n'\n"), run.stderr
    assert run.stderr == ""
    assert run.network == ()


@pytest.mark.skipif(Level(NAMESPACES) not in LEVELS, reason="no namespaces here")
def test_what_bypasses_python_on_its_way_to_the_network_is_counted(run_code: RunCode) -> None:
    code = (
        "import ctypes, struct\n"
        "libc = ctypes.CDLL(None)\n"
        "address = struct.pack('=HHI8x', 2, 0x5000, 0x010200C0)\n"
        "print(libc.connect(libc.socket(2, 1, 0), address, 16))\n"
    )
    run = run_code(Level(NAMESPACES), code)
    assert run.stdout == "-1\n"
    assert run.network == ("send what found no route",)


@every_sandbox
def test_a_script_that_names_hosts_is_known_by_them_and_their_names_do_not_steer_the_terminal(
    level: Level, run_code: RunCode
) -> None:
    code = (
        "import socket, urllib.request\n"
        "for host in ('example.org', 'example.org', 'a\\x1b[2Jb', 'localhost', '192.0.2.1'):\n"
        "    try:\n        socket.getaddrinfo(host, 80)\n"
        "    except (OSError, UnicodeError): pass\n"
        "try:\n    urllib.request.urlopen('http://data.example.net/x')\nexcept OSError: pass\n"
    )
    wanted = run_code(level, code).network
    assert wanted[:3] == ("look up example.org", "look up a\\x1b[2Jb", "look up data.example.net")


@every_level
def test_many_runs_at_once_do_not_disturb_one_another(level: Level, tmp_path: Path) -> None:
    def run(number: int) -> tuple[int | None, str, str]:
        place = tmp_path / str(number)
        (place / "cwd").mkdir(parents=True)
        (place / "s.py").write_text(f"open('r', 'w').write('{number}')\nprint({number})\n")
        done = Sandbox(level).run(ScriptJob(place / "s.py", place / "cwd", place))
        return done.exit_code, done.stdout, (place / "cwd" / "r").read_text()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(8))) == [(0, f"{number}\n", str(number)) for number in range(8)]


WAITS = """
import sys
from pathlib import Path
from netllama.sandbox.levels import Level
from netllama.sandbox.sandbox import ScriptJob, Sandbox
place = Path(sys.argv[2])
Sandbox(Level(sys.argv[1])).run(ScriptJob(place / "script.py", place / "cwd", place, (f"marked {place}",)))
"""


@every_level
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_parent_leaves_no_process(level: Level, number: int, tmp_path: Path) -> None:
    (tmp_path / "cwd").mkdir()
    code = "import os, time\nif os.fork() == 0: os.setsid()\nopen('started', 'w').close()\ntime.sleep(600)\n"
    (tmp_path / "script.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WAITS, level.name, str(tmp_path)]
    parent = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    ends = time.monotonic() + 30
    while not (tmp_path / "cwd" / "started").exists() and time.monotonic() < ends:
        time.sleep(0.02)
    parent.send_signal(number)
    parent.wait(30)
    assert (tmp_path / "cwd" / "started").exists()
    assert not is_running(f"marked {tmp_path}")


STARTS = "open('started', 'w').close()\nimport time\ntime.sleep(600)\n"
FORKS = "import os\nif os.fork() == 0: os.setsid()\nif os.fork() == 0: os.setsid()\n"


@every_level
@pytest.mark.parametrize(("generation", "code"), [(1, FORKS + STARTS), (2, FORKS + STARTS), (0, STARTS)])
def test_a_killed_launcher_leaves_no_process(
    level: Level, generation: int, code: str, run_code: RunCode, tmp_path: Path
) -> None:
    """There are two: one of them waits for the other, which watches the script. 0: both are killed."""
    if level.name == NONE and not generation:
        return
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(run_code, level, code, f"marked {tmp_path}")
        ends = time.monotonic() + 30
        while not (tmp_path / "cwd" / "started").exists() and time.monotonic() < ends:
            time.sleep(0.02)
        launcher = find_descendant("sandbox.launcher", generation or 1)
        (os.kill if generation else os.killpg)(launcher, signal.SIGKILL)
        assert run.result().ended == "stopped"
    assert not is_running(f"marked {tmp_path}")


@every_level
def test_a_script_that_ends_its_watch_is_no_script_that_was_stopped(level: Level, run_code: RunCode) -> None:
    code = (
        "import os, time\n"
        "try:\n    os.kill(os.getppid(), 15)\nexcept PermissionError: pass\n"
        "time.sleep(0.2)\nprint('done')\n"
    )
    run = run_code(level, code)
    assert (run.ended, run.exit_code, run.stdout) == ("exit", 0, "done\n")


@pytest.mark.parametrize("level", [level for level in LEVELS if keeps_signals_in(level)], ids=lambda level: level.name)
def test_a_script_ends_its_own_processes(level: Level, run_code: RunCode) -> None:
    code = (
        "import multiprocessing, subprocess, time\n"
        "child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(600,))\n"
        "child.start()\nchild.terminate()\nchild.join()\n"
        "other = subprocess.Popen(['sleep', '600'])\nother.kill()\n"
        "print(child.exitcode, other.wait())\n"
    )
    run = run_code(level, code, limits=Limits(wall_seconds=20))
    assert run.stdout == "-15 -9\n", run.stderr


@every_level
def test_pages_that_processes_share_count_once(level: Level, run_code: RunCode) -> None:
    code = (
        "import os, time\n"
        "table = bytearray(b'x') * (150 * 2**20)\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n        time.sleep(0.5)\n        os._exit(0)\n"
        "for _ in range(4): os.wait()\n"
        "{}print('done')\n"
    )
    limits = Limits(wall_seconds=60, memory_bytes=400 * 2**20)
    run = run_code(level, code.format(""), limits=limits)
    assert (run.ended, run.stdout) == ("exit", "done\n"), run.stderr
    assert 150 * 2**20 < run.peak_bytes < 400 * 2**20
    each_its_own = "for _ in range(3):\n    os.fork()\ntable = bytearray(b'y') * (150 * 2**20)\ntime.sleep(60)\n"
    assert run_code(level, code.format(each_its_own), limits=limits).ended == "memory"


@every_sandbox
def test_scripts_are_not_root_and_their_files_can_be_removed(level: Level, run_code: RunCode, tmp_path: Path) -> None:
    run = run_code(level, "import os\nprint(os.getuid())\nos.makedirs('a/b')\nos.chmod('a', 0)\n")
    assert run.exit_code == 0
    assert int(run.stdout) == 1000 if level.name == NAMESPACES else int(run.stdout) != 0
    assert sorted(path.name for path in (tmp_path / "cwd").rglob("*")) == ["a", "b"]
    assert {path.stat().st_uid for path in (tmp_path / "cwd").rglob("*")} == {os.geteuid()}


def test_where_there_is_no_sandbox_it_is_refused_with_reasons_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_choice, "list_levels", lambda: [Level(NAMESPACES), Level(LANDLOCK)])
    problems = {NAMESPACES: "unshare: not permitted", LANDLOCK: "too old"}
    monkeypatch.setattr(sandbox_choice, "find_problem", lambda level: problems[level.name])
    with pytest.raises(StageError, match=r"namespaces: unshare: not permitted; landlock: too old.*--unsafe"):
        find_sandbox()
    assert find_sandbox(unsafe=True).level == Level(NONE)
    assert find_sandbox(unsafe=True).statement.startswith("no sandbox: the script runs with your rights")
    monkeypatch.setattr(sandbox_choice, "list_levels", list)
    with pytest.raises(StageError, match=r"it needs Linux.*or later\. Set evaluate\.x$"):
        find_sandbox(remedy="Set evaluate.x")


def test_a_level_that_does_not_work_says_what_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Level("bubblewrap", "/usr/bin/false")
    assert find_problem(missing) != ""
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert list_levels() == []


def test_the_strongest_level_that_works_is_chosen_and_described() -> None:
    sandbox = find_sandbox()
    assert sandbox.level == LEVELS[0]
    assert "kept from the script" in sandbox.statement
    assert "not kept" in sandbox.statement


def test_what_a_script_leaves_becomes_an_ordinary_tree(tmp_path: Path) -> None:
    deep = tmp_path / "work"
    for _ in range(DEEPEST + 20):
        deep /= "d"
    deep.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o500)
    (tmp_path / "work" / "link").symlink_to(outside)
    assert measure_folder(str(tmp_path / "work"), 1000)[1] == 1001
    (tmp_path / "work" / "d" / "d").chmod(0)
    (tmp_path / "work" / "program").touch()
    (tmp_path / "work" / "program").chmod(0o6755)
    tidy_folder(tmp_path / "work")
    depth = max(len(path.relative_to(tmp_path / "work").parts) for path in (tmp_path / "work").rglob("*"))
    assert depth == DEEPEST
    assert outside.stat().st_mode & 0o777 == 0o500
    assert (tmp_path / "work" / "program").stat().st_mode & 0o7777 == 0o755
    assert measure_folder(str(tmp_path / "work"), 1000)[1] == DEEPEST + 2
