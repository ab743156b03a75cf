"""Locks between processes, and what several processes do at once to one folder."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from netllama.core import locks
from netllama.core.locks import hold_lock, hold_lock_async
from tests.support.clones import ROOT
from tests.support.racing import race

SWAPS_FOLDERS = pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="no exchange of two folders here")
WITHOUT_EXCHANGE = "import ctypes\nctypes.CDLL = lambda *arguments, **options: object()\n"
"""As on a system whose C library has no such call."""
WRITER = """
import os
from pathlib import Path
from netllama.core.files import atomic_path

def replace(word):
    with atomic_path("folder") as temporary:
        temporary.mkdir()
        for name in "ab":
            (temporary / name).write_text(word * 10000)

def read():
    "The word of each file; AssertionError where one is missing or half-written."
    words = []
    for name in "ab":
        text = Path("folder", name).read_text()
        assert text == text[:4] * 10000, f"{name} is not whole"
        words.append(text[:4])
    return words

replace("old ")
"""
REPLACE_OFTEN = """
try:
    for number in range(200):
        replace(f"{number:4}")
finally:
    Path("done").touch()
"""
READ_UNTIL_DONE = """
reads = 0
while not Path("done").exists():
    read()
    reads += 1
print(reads)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@SWAPS_FOLDERS
def test_a_reader_beside_a_writer_never_finds_a_folder_missing_or_a_file_half_written(tmp_path: Path) -> None:
    reads = race(tmp_path, WRITER, REPLACE_OFTEN, READ_UNTIL_DONE)
    assert int(reads) > 200, "too few to prove anything"
    assert names(tmp_path) == ["done", "folder"]


@pytest.mark.parametrize("setup", ["", WITHOUT_EXCHANGE], ids=["exchange", "two renames"])
def test_of_two_writers_at_once_one_wins_and_nothing_is_left_behind(tmp_path: Path, setup: str) -> None:
    race(tmp_path, setup + WRITER, REPLACE_OFTEN, REPLACE_OFTEN)
    race(tmp_path, WRITER.removesuffix('replace("old ")\n'), 'assert read() == [" 199", " 199"]')
    assert names(tmp_path) == ["done", "folder"]


def test_a_lock_has_one_holder_at_a_time_and_the_next_one_says_what_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    path, order = tmp_path / "some.lock", []

    def hold_next() -> None:
        with hold_lock(path, "builds castles"):
            order.append("second")

    async def hold_next_async() -> None:
        async with hold_lock_async(path, "builds castles"):
            order.append("second")

    for hold in (hold_next, lambda: asyncio.run(hold_next_async())):
        other = threading.Thread(target=hold)
        with hold_lock(path, "builds castles"):
            other.start()
            time.sleep(0.3)
            order.append("first")
        other.join(10)
    assert order == ["first", "second"] * 2
    assert capsys.readouterr().out == "waiting for another process that builds castles ...\n" * 2


def test_nothing_is_said_where_nobody_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with hold_lock(tmp_path / "some.lock", "builds castles"):
            pass
    assert capsys.readouterr().out == ""


HOLDER = """
import sys, time
from pathlib import Path
from netllama.core.locks import hold_lock
with hold_lock(Path("some.lock"), "builds castles"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    command, environment = [sys.executable, "-c", HOLDER], os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with hold_lock(tmp_path / "some.lock", "builds castles"):
        pass


def test_an_error_under_a_lock_releases_it(tmp_path: Path) -> None:
    def fail(hold: Callable[[], None]) -> None:
        with pytest.raises(RuntimeError, match="castle fell"):
            hold()

    def hold() -> None:
        with hold_lock(tmp_path / "some.lock", "builds castles"):
            raise RuntimeError("castle fell")

    fail(hold)
    fail(hold)
