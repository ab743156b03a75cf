"""training.json and the files beside it: what is damaged is named before a number comes out of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from netllama.core.errors import StageError
from netllama.core.files import hash_file, write_json
from netllama.models.training_record import HASHED, read_training_record
from tests.support.training_runs import training_record


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A folder as the stage train leaves it, but for what the files say."""
    for name in HASHED:
        (tmp_path / name).write_bytes(name.encode() * 100)
    files = {name: hash_file(tmp_path / name) for name in HASHED}
    write_json(tmp_path / "training.json", training_record().model_dump() | {"files": files})
    return tmp_path


def test_a_whole_adapter_is_read(adapter: Path) -> None:
    assert read_training_record(adapter).base.id == "tiny"


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip_a_bit, cut_short, make_empty, Path.unlink])
@pytest.mark.parametrize("name", HASHED)
def test_a_damaged_adapter_is_named(adapter: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(adapter / name)
    with pytest.raises(StageError, match=rf"^{adapter}/{name}: .*; run `dvc repro --force train`$"):
        read_training_record(adapter)


@pytest.mark.parametrize(
    "content", ["{}", "[]", "null", '"text"', "1", "", "{", '{"base": {}}', "\x00\x00", '{"files": [], "lora": 1}']
)
def test_a_damaged_record_is_one_line(adapter: Path, content: str) -> None:
    (adapter / "training.json").write_text(content)
    with pytest.raises(StageError, match=rf"^{adapter}/training\.json") as raised:
        read_training_record(adapter)
    assert "\n" not in str(raised.value)


def test_a_record_without_hashes_says_nothing_of_the_files(adapter: Path) -> None:
    write_json(adapter / "training.json", training_record().model_dump())
    with pytest.raises(StageError, match=r"not the file that training\.json beside it records"):
        read_training_record(adapter)
