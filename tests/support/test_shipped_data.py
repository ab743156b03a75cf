"""What is shipped is told apart from what a user puts beside it."""

import shutil
from pathlib import Path

import pytest

from tests.support import shipped_data
from tests.support.shipped_data import (
    CORPUS_FOLDERS,
    SUITES,
    ignore_unshipped,
    list_shipped_notes,
    load_shipped_questions,
    write_shipped,
)


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """data/ with files and folders of a user's, of which none holds to the project's rules."""
    data = tmp_path / "data"
    shutil.copytree(shipped_data.DATA, data)
    (data / "corpus" / "mine").mkdir()
    for path in ("corpus/mine/Note 1.md", "corpus/loose.md", "corpus/bgp/scan.txt"):
        (data / path).write_text("no title\t \n```python\n1 / 0\n```")
    (data / "questions" / "mine.jsonl").write_text("{broken\n")
    (data / "questions" / "telco.json").write_text("[]")
    (data / "questions" / "more").mkdir()
    monkeypatch.setattr(shipped_data, "DATA", data)
    monkeypatch.setattr(shipped_data, "CORPUS", data / "corpus")
    return data


def test_a_users_files_are_none_of_the_shipped_data(users: Path) -> None:
    notes = list_shipped_notes()
    assert {path.relative_to(users).parts[1] for path in notes} == set(CORPUS_FOLDERS)
    assert len(notes) >= 200
    assert not {path.name for path in notes} & {"Note 1.md", "loose.md"}
    asked = load_shipped_questions.__wrapped__()
    assert asked == load_shipped_questions()
    assert {question.family for question in asked} == set(SUITES)


def test_a_copy_without_them_has_all_that_is_shipped(users: Path, tmp_path: Path) -> None:
    shutil.copytree(users, copy := tmp_path / "copy", ignore=ignore_unshipped)
    assert {path.name for path in (copy / "corpus").iterdir()} == set(CORPUS_FOLDERS)
    assert {path.stem for path in (copy / "questions").iterdir()} == set(SUITES)
    for name in ("prompts", "seeds", "recorded", "extra"):
        assert {path.name for path in (copy / name).iterdir()} == {path.name for path in (users / name).iterdir()}


def test_what_is_written_is_what_is_shipped(tmp_path: Path) -> None:
    shutil.copytree(shipped_data.DATA, copy := tmp_path / "copy", ignore=ignore_unshipped)
    write_shipped(written := tmp_path / "written")
    one, other = (
        {path.relative_to(folder): path.is_dir() or path.read_bytes() for path in folder.rglob("*")}
        for folder in (copy, written)
    )
    assert one == other
