"""What docs/robustness.md says of DVC's list of locks is so for the DVC that is pinned."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.clones import ROOT
from tests.support.pages import read_page


def test_an_empty_list_of_locks_ends_as_the_page_says_until_it_is_deleted(tmp_path: Path) -> None:
    from dvc.fs import localfs
    from dvc.rwlock import RWLockFileCorruptedError, rwlock

    page, listed = read_page(ROOT / "docs" / "robustness.md"), tmp_path / "rwlock"
    assert f"DVC {version('dvc')} " in page
    assert f"dvc=={version('dvc')}" in (ROOT / "requirements.txt").read_text(encoding="utf-8")
    for content in ("", '{"write": {'):
        listed.write_text(content)
        with (
            pytest.raises(RWLockFileCorruptedError) as error,
            rwlock(str(tmp_path), localfs, "dvc repro", [], [str(tmp_path / "out")], False),
        ):
            pass
        assert re.sub(r"'.*'", "'.dvc/tmp/rwlock'", str(error.value)) in page
    listed.unlink()
    with rwlock(str(tmp_path), localfs, "dvc repro", [], [str(tmp_path / "out")], False):
        assert listed.exists()
