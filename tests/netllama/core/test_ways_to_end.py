"""How stages and commands end when a person or a pipe ends them: one line or none, never a traceback."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netllama.core.errors import INTERRUPTED, NOBODY_READS, run_stage
from netllama.models.model_reference import find_cache_folder
from tests.support.clones import ROOT

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
COMMANDS = sorted(path.stem for path in (ROOT / "commands").glob("*.py") if path.stem != "__init__")
STAGES = sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__")


def run_into_a_closed_pipe(*command: str) -> tuple[int, str]:
    """Exit code and stderr of a command whose output nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT)
    os.close(writing)
    return ended.returncode, ended.stderr


def test_a_command_whose_reader_has_gone_is_quiet() -> None:
    assert run_into_a_closed_pipe(sys.executable, "-m", "commands.replay", "--list") == (NOBODY_READS, "")


PRINTS = "from netllama.core.errors import run_stage\nrun_stage(lambda: [print('a line') for _ in range({})] and None)"


@pytest.mark.parametrize("lines", [1, 100_000])
def test_little_output_that_is_flushed_at_the_end_is_quiet_like_much(lines: int) -> None:
    assert run_into_a_closed_pipe(sys.executable, "-c", PRINTS.format(lines)) == (NOBODY_READS, "")


def run_in_a_shell(redirections: str, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A stage of this `code` in its main, started with streams as a shell makes them."""
    main = f"from netllama.core.errors import run_stage\ndef main():\n    {code}\nrun_stage(main)"
    command = ["sh", "-c", f'exec "$0" -c "$1" {redirections}', sys.executable, main]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT | environment)


@pytest.mark.parametrize("redirections", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_as_good_as_dev_null(redirections: str) -> None:
    ended = run_in_a_shell(redirections, "import tqdm; print(sum(tqdm.tqdm([1, 2])))")
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("lines", "unbuffered"), [(1, ""), (100_000, ""), (1, "1")])
def test_a_full_disk_under_the_output_is_one_line(lines: int, unbuffered: str) -> None:
    ended = run_in_a_shell("> /dev/full", f"[print('a line') for _ in range({lines})]", PYTHONUNBUFFERED=unbuffered)
    said = "error: standard output, or a temporary file: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (1, said)


def test_a_character_that_the_terminal_does_not_have_is_escaped() -> None:
    ended = run_in_a_shell("", "print('a → b \\udcff')", PYTHONIOENCODING="latin-1")
    assert (ended.returncode, ended.stdout) == (0, "a \\u2192 b \\udcff\n")


def test_typed_bytes_that_are_no_text_are_read() -> None:
    command = [sys.executable, "-c", "from netllama.core.errors import run_stage\nrun_stage(lambda: print(input()))"]
    typed = subprocess.run(command, input=b"a \xff b\n", capture_output=True, env=ENVIRONMENT)
    assert (typed.returncode, typed.stdout.decode()) == (0, "a \ufffd b\n")


def test_too_little_memory_is_one_line() -> None:
    ended = run_in_a_shell("", "bytearray(2**60)")
    assert (ended.returncode, ended.stderr.partition(";")[0]) == (1, "error: out of memory")


def test_another_broken_pipe_is_said() -> None:
    broken = "import os\ndef main():\n    r, w = os.pipe(); os.close(r); os.write(w, b'x')\n"
    code = f"from netllama.core.errors import run_stage\n{broken}run_stage(main)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
    assert (ended.returncode, ended.stderr) == (1, "error: Broken pipe\n")


ENDS_WHERE_ERRORS_ARE_DROPPED = """
import asyncio, os, signal
from netllama.core.errors import run_stage

class Dropping:
    def __del__(self):  # what is raised in here goes nowhere
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(10):
            pass

async def wait():
    Dropping()
    await asyncio.sleep(20)
    print("went on")

run_stage(lambda: asyncio.run(wait()))
"""


def test_sigterm_ends_an_event_loop_wherever_it_comes() -> None:
    command = [sys.executable, "-c", ENDS_WHERE_ERRORS_ARE_DROPPED]
    ended = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", f"{INTERRUPTED}\n")


def test_every_stage_and_command_runs_inside_run_stage() -> None:
    for folder, names in (("stages", STAGES), ("commands", COMMANDS)):
        for name in names:
            text = (ROOT / folder / f"{name}.py").read_text(encoding="utf-8")
            end = re.search(r'if __name__ == "__main__":\n    run_stage\(main(, __doc__)?\)\n$', text)
            assert end, name
            assert bool(end[1]) != ("parse_args" in text), f"{name}: who reads its arguments?"


@pytest.mark.parametrize(("argument", "code", "said"), [("--help", 0, "Splits rows."), ("lora.r=3", 2, "lora.r=3")])
def test_a_program_without_arguments_runs_nothing_where_it_gets_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argument: str, code: int, said: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["split.py", argument])
    ran: list[str] = []
    with pytest.raises(SystemExit) as ended:
        run_stage(lambda: ran.append("main"), "Splits rows.")
    assert (ended.value.code, ran) == (code, [])
    assert said in "".join(capsys.readouterr())


SLOW_IMPORT = "import time\nprint('importing', flush=True)\ntime.sleep(60)\n"


def test_ctrl_c_during_imports_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("from netllama.core.errors import StageError\nimport slow_library\n")
    (tmp_path / "slow_library.py").write_text(SLOW_IMPORT)
    heed = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    process = subprocess.Popen(
        [sys.executable, "-m", "slow"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
        preexec_fn=heed,
    )
    assert process.stdout
    assert process.stdout.readline() == "importing\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert said == f"{INTERRUPTED}\n"
    assert process.returncode == -signal.SIGINT, "a shell reports 130"


def test_an_error_of_an_import_keeps_its_traceback(tmp_path: Path) -> None:
    code = "import netllama.core.errors, no_such_library"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
    assert "Traceback" in ended.stderr
    assert "no_such_library" in ended.stderr


def test_without_a_home_the_named_cache_is_used_and_else_a_line_says_what_to_set() -> None:
    code = (
        "import os, pwd\n"
        "def nobody(user): raise KeyError(user)\n"
        "pwd.getpwuid = nobody\n"
        "from netllama.core.errors import run_stage\n"
        "from netllama.models.model_reference import find_cache_folder\n"
        "run_stage(lambda: print(find_cache_folder()))"
    )
    bare = {name: value for name, value in ENVIRONMENT.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    for more, out, said in (
        ({"NETLLAMA_CACHE": "/models"}, "/models\n", ""),
        ({"XDG_CACHE_HOME": "/caches"}, "/caches/netllama\n", ""),
        ({}, "", "error: no home folder: set NETLLAMA_CACHE to a folder where weights can be kept\n"),
    ):
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=bare | more)
        assert (ended.stdout, ended.stderr) == (out, said)
    assert find_cache_folder().name
