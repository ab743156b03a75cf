"""Each run has a folder of its own; of those that have ended, the last ones stay."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from testbed.run_folders import KEPT, open_run_folder


def list_folders(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir() if path.is_dir()}


def test_two_runs_of_one_name_at_once_have_two_folders(tmp_path: Path) -> None:
    together = threading.Barrier(4)

    def use(number: int) -> tuple[str, str]:
        with open_run_folder(tmp_path, "script") as folder:
            (folder / "result").write_text(str(number))
            together.wait(10)
            return folder.name, (folder / "result").read_text()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(use, range(4)))
    assert len({name for name, _ in found}) == 4
    assert [text for _, text in found] == ["0", "1", "2", "3"]


def test_the_last_runs_are_kept_and_older_ones_deleted_whatever_wrote_them(tmp_path: Path) -> None:
    for number in range(30):
        old = tmp_path / f"script-{number:08d}" / "cwd"
        old.mkdir(parents=True)
        os.utime(old.parent, (number, number))
    with open_run_folder(tmp_path, "new") as folder:
        assert list_folders(tmp_path) == {folder.name} | {f"script-{number:08d}" for number in range(30 - KEPT, 30)}
    for _ in range(2 * KEPT):
        with open_run_folder(tmp_path, "next"):
            pass
        assert len(list_folders(tmp_path)) <= KEPT + 1


def test_a_run_in_progress_keeps_its_folder_however_old_it_is(tmp_path: Path) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(open_run_folder(tmp_path, "long")) for _ in range(KEPT + 3)]
        for folder in held:
            os.utime(folder, (1, 1))
        for _ in range(KEPT + 3):
            with open_run_folder(tmp_path, "short"):
                pass
        assert {folder.name for folder in held} <= list_folders(tmp_path)
    with open_run_folder(tmp_path, "last"):
        pass
    assert len(list_folders(tmp_path)) == KEPT + 1
