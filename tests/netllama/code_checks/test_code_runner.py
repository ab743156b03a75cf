"""Scripts are run once, whatever order they come in, whatever is damaged or killed; and each fault has its name."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import netllama.code_checks.code_runner as room
from netllama.code_checks.code_run import CodeRun
from netllama.code_checks.code_runner import CodeRunner, Script
from netllama.code_checks.run_store import RunStore, read_run
from netllama.core.errors import StageError
from netllama.core.files import dump_canonical_json, write_jsonl
from tests.support.clones import ROOT

GREETINGS = [Script(f"print('hello {number}')\n") for number in range(6)]


@pytest.fixture(autouse=True)
def shared_network(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ensure_network", lambda cache, seed: network)
    monkeypatch.setattr(room, "LIBRARIES", ())


@pytest.fixture
def run_here(workdir: Path) -> Callable[..., CodeRun]:
    def run(code: str) -> CodeRun:
        return CodeRunner(RunStore(Path("runs"))).run_all([Script(code)])[0]

    return run


@pytest.mark.parametrize(
    ("code", "finding", "detail"),
    [
        ("print(1)", "holds", ""),
        ("open('out.txt', 'w').write('x')", "holds", ""),
        ("open('out.txt', 'w').close()", "no output", "it prints and writes nothing"),
        ("x = 1", "no output", "it prints and writes nothing"),
        ("print(", "does not parse", "line 1: '(' was never closed"),
        ("x = 1\nprint(2)\n*x", "does not parse", "line 3: SyntaxError: can't use starred expression here"),
        ("import nowhere\nprint(1)", "missing import", "line 1: ModuleNotFoundError: No module named 'nowhere'"),
        ("open('a.csv')", "missing file", "line 1: FileNotFoundError: [Errno 2] No such file or directory: 'a.csv'"),
        ("print(1)\n1/0", "runtime error", "line 2: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit('no')", "runtime error", "no"),
        ("import socket\nsocket.create_connection(('192.0.2.1', 80))", "network attempt", "open a TCP socket"),
        ("input()", "runtime error", "line 1: EOFError: EOF when reading a line"),
    ],
)
def test_a_fault_has_its_name_and_its_line(
    run_here: Callable[..., CodeRun], code: str, finding: str, detail: str
) -> None:
    run = run_here(code)
    assert (run.finding, run.detail) == (finding, detail)


def test_what_it_printed_and_wrote_is_kept(run_here: Callable[..., CodeRun]) -> None:
    run = run_here("import os\nprint(object(), os.getcwd())\nopen('a.txt', 'w').write('x')\nprint('x' * 3000)")
    assert run.printed.endswith("x" * 1999 + "\n")
    assert len(run.printed) == room.LONGEST_PRINTED
    assert run.wrote == ["a.txt"]


def test_no_script_is_run_twice_and_order_and_company_change_nothing(workdir: Path) -> None:
    first = CodeRunner(RunStore(Path("runs")))
    together = first.run_all([*GREETINGS, *GREETINGS])
    assert first.started == len(GREETINGS)
    assert [run.printed for run in together] == 2 * [f"hello {number}\n" for number in range(6)]
    second = CodeRunner(RunStore(Path("runs")))
    assert second.run_all(GREETINGS[::-1]) == together[:6][::-1]
    assert (second.started, set(second.used)) == (0, set(first.used))
    alone = CodeRunner(RunStore(Path("others")))
    assert [alone.run_all([script])[0] for script in reversed(GREETINGS)] == together[:6][::-1]


def test_a_scenario_makes_it_another_run() -> None:
    runner = CodeRunner(RunStore(Path("runs")))
    keys = {runner.make_key(Script("print(1)", scenario)) for scenario in ("", "flapping", "dns")}
    assert len(keys) == 3


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"[1]", b'{"key": "x"}'])
def test_a_damaged_record_is_run_again(workdir: Path, damage: bytes) -> None:
    before = CodeRunner(RunStore(Path("runs"))).run_all(GREETINGS[:2])
    path = next(path for path in Path("runs").rglob("*.json") if before[0].key in path.name)
    path.write_bytes(damage)
    runner = CodeRunner(RunStore(Path("runs")))
    assert runner.run_all(GREETINGS[:2]) == before
    assert runner.started == 1
    assert read_run(path.read_text()) == before[0]


def test_a_verdict_that_somebody_changed_does_not_count(workdir: Path) -> None:
    [run] = CodeRunner(RunStore(Path("runs"))).run_all([Script("1/0")])
    changed = run.model_dump() | {"finding": "holds"}
    assert read_run(dump_canonical_json(changed)) is None
    assert read_run(dump_canonical_json(run.model_dump())) == run


def test_recorded_runs_need_no_sandbox(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = CodeRunner(RunStore(Path("runs"))).run_all(GREETINGS[:2])
    write_jsonl("recorded.jsonl", (run.model_dump() for run in runs))

    def refuse(**_: object) -> None:
        raise StageError("no sandbox works on this machine")

    monkeypatch.setattr(room, "find_sandbox", refuse)
    assert CodeRunner(RunStore(Path("empty"), Path("recorded.jsonl"))).run_all(GREETINGS[:2]) == runs
    with pytest.raises(StageError, match="no sandbox works"):
        CodeRunner(RunStore(Path("empty"), Path("recorded.jsonl"))).run_all(GREETINGS[:3])


RUN = """
import sys
from pathlib import Path
import netllama.code_checks.code_runner as room
room.ensure_network = lambda cache, seed: Path(sys.argv[1])
room.LIBRARIES = ()
room.count_cores = lambda: 2
scripts = [room.Script(f"print({number})") for number in range(40)]
slow = [room.Script(f"open('started-{number}', 'w')\\nimport time\\nprint(time.sleep(15))") for number in range(2)]
room.CodeRunner(room.RunStore(Path("runs"))).run_all([*scripts[:20], *slow, *scripts[20:]])
"""


def test_a_kill_in_the_middle_loses_no_run_and_leaves_no_process(workdir: Path, network: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(workdir)}
    process = subprocess.Popen([sys.executable, "-c", RUN, str(network)], env=environment, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(stored := list(Path("runs").rglob("*.json"))) < 20 or not list(workdir.glob("code-*/task/cwd/started-1")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    family = list_descendants(process.pid)
    assert len(family) >= 4, "two servers, and a launcher with its script under each"
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 30
    while left := [pid for pid in family if is_alive(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    assert all(read_run(path.read_text()) for path in stored)
    runner = CodeRunner(RunStore(Path("runs")))
    scripts = [Script(f"print({number})") for number in range(40)]
    assert [run.printed for run in runner.run_all(scripts)] == [f"{number}\n" for number in range(40)]
    assert runner.started <= 40 - len(stored)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def list_descendants(pid: int) -> list[int]:
    children = [
        int(each) for task in Path(f"/proc/{pid}/task").iterdir() for each in (task / "children").read_text().split()
    ]
    return children + [each for child in children for each in list_descendants(child)]
