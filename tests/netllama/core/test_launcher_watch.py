"""A stage whose dvc was killed ends itself, whatever stands between the two; one that is run by hand goes on."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from netllama.core.launcher_watch import SET_BY_DVC
from tests.support.clones import ROOT

STAGE = """
import os, time
from pathlib import Path
from netllama.core import launcher_watch
from netllama.core.errors import run_stage
launcher_watch.POLL = 0.05
def main():
    Path("pid").write_text(str(os.getpid()))
    try:
        time.sleep(60)
    finally:
        Path("ended").write_text("in good order")
run_stage(main)
"""
LAUNCHER = """
import os, subprocess, sys
subprocess.run(sys.argv[2:], env=os.environ | dict([sys.argv[1].split("=")] if sys.argv[1] else []))
"""
DIRECT = [sys.executable, "stage.py"]
BELOW_A_SHELL = ["sh", "-c", f"{sys.executable} stage.py; true"]
BELOW_A_LAUNCHER = [sys.executable, "launcher.py", "", *BELOW_A_SHELL]


def start(folder: Path, variable: str, command: list[str]) -> tuple["subprocess.Popen[bytes]", psutil.Process]:
    """A process that starts `command` as DVC does, and the stage below it."""
    (folder / "stage.py").write_text(textwrap.dedent(STAGE), encoding="utf-8")
    (folder / "launcher.py").write_text(textwrap.dedent(LAUNCHER), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != SET_BY_DVC} | {"PYTHONPATH": str(ROOT)}
    dvc = subprocess.Popen([sys.executable, "launcher.py", variable, *command], cwd=folder, env=environment)
    deadline = time.monotonic() + 60
    while not ((folder / "pid").exists() and (folder / "pid").read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return dvc, psutil.Process(int((folder / "pid").read_text()))


@pytest.mark.parametrize("command", [DIRECT, BELOW_A_SHELL, BELOW_A_LAUNCHER], ids=["direct", "shell", "launcher"])
def test_a_stage_ends_in_good_order_when_its_dvc_is_killed(command: list[str], tmp_path: Path) -> None:
    dvc, stage = start(tmp_path, f"{SET_BY_DVC}=train", command)
    dvc.kill()  # a zombie from now on, until it is waited for
    psutil.wait_procs([stage], timeout=20)
    assert (tmp_path / "ended").read_text() == "in good order"
    dvc.wait()


def test_a_stage_ends_when_the_launcher_between_it_and_dvc_is_killed(tmp_path: Path) -> None:
    dvc, stage = start(tmp_path, f"{SET_BY_DVC}=train", BELOW_A_LAUNCHER)
    [launcher] = psutil.Process(dvc.pid).children()
    launcher.kill()
    psutil.wait_procs([stage], timeout=20)
    assert (tmp_path / "ended").exists()
    dvc.wait()


def test_a_stage_that_is_run_by_hand_outlives_what_started_it(tmp_path: Path) -> None:
    shell, stage = start(tmp_path, "", BELOW_A_SHELL)
    shell.kill()
    shell.wait()
    time.sleep(0.5)
    assert stage.is_running()
    stage.send_signal(signal.SIGTERM)
    psutil.wait_procs([stage], timeout=20)
    assert (tmp_path / "ended").exists()
