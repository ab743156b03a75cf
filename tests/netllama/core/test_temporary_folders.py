"""Temporary folders: of killed processes they go with the next one, of live ones never."""

import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from netllama.core.files import atomic_path, write_text
from netllama.core.temporary_folders import UNFINISHED, hold_folder
from tests.support.racing import race

FORK = multiprocessing.get_context("fork")


def list_hidden(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith(UNFINISHED)]


def write_forever(target: Path, begun: Event) -> None:
    with atomic_path(target) as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("half")
        begun.set()
        signal.pause()


@pytest.mark.parametrize("name", ["model", "state.pt", "a [b] *"])
def test_what_a_killed_writer_left_goes_with_the_next_and_what_a_live_one_holds_stays(
    tmp_path: Path, name: str
) -> None:
    writers = []
    for _ in range(2):
        writer = FORK.Process(target=write_forever, args=(tmp_path / name, begun := FORK.Event()))
        writer.start()
        begun.wait()
        writers.append(writer)
    assert len(list_hidden(tmp_path)) == 2
    write_text(tmp_path / name, "while both write")
    assert len(list_hidden(tmp_path)) == 2
    os.kill(writers[0].pid or 0, signal.SIGKILL)
    writers[0].join()
    write_text(tmp_path / name, "after a kill")
    [alive] = list_hidden(tmp_path)
    assert (alive / name / "weights").read_text() == "half"
    os.kill(writers[1].pid or 0, signal.SIGKILL)
    writers[1].join()
    write_text(tmp_path / name, "after another")
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_what_a_killed_writer_of_another_name_left_goes_too(tmp_path: Path) -> None:
    """An index is named by a hash of its documents: once these have changed, nobody writes the old name again."""
    (tmp_path / f".0123abcd.x_yz1234{UNFINISHED}").mkdir()
    write_text(tmp_path / "4567cdef", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["4567cdef"]


def test_folders_of_the_user_stay(tmp_path: Path) -> None:
    for name in (".model.backup", ".model.bak12345", f"model.abcd1234{UNFINISHED}"):
        (tmp_path / name).mkdir()
    write_text(tmp_path / "model", "new")
    assert len(list(tmp_path.iterdir())) == 4


def test_a_folder_is_there_in_its_block_and_gone_after_it(tmp_path: Path) -> None:
    with hold_folder(tmp_path, "code-") as folder:
        (folder / "closed").mkdir(mode=0o000)
        assert folder.parent == tmp_path
        assert folder.name.startswith("code-")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="stop"), hold_folder(tmp_path, "code-"):
        raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []


def test_many_at_once_never_take_the_folder_of_another(tmp_path: Path) -> None:
    work = """
for number in range(60):
    with hold_folder("place", "code-") as folder:
        (folder / "mine").write_text(str(number))
        assert (folder / "mine").read_text() == str(number)
"""
    (tmp_path / "place").mkdir()
    race(tmp_path, "from netllama.core.temporary_folders import hold_folder", *[work] * 4)
    assert list((tmp_path / "place").iterdir()) == []
