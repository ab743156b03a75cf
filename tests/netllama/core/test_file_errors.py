"""Errors of the system name their file; what may never end is not opened."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from netllama.core.errors import StageError
from netllama.core.file_errors import name_file, open_regular
from netllama.core.files import atomic_path, read_text
from netllama.retrieval.vector_store import VectorStore
from netllama.teacher.spending import Spending
from netllama.teacher.store import ResponseStore
from tests.netllama.teacher.test_store import request, response


@contextmanager
def bounded_files(octets: int) -> Iterator[None]:
    """No file grows beyond it: the system says so as it says of a full disk, by an error that names no file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_may_never_end_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "rows.jsonl"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(StageError, match=r"rows\.jsonl: not a file but a pipe, a socket or a device; copy"):
        read_text(path)


def test_a_folder_and_a_name_that_is_none_have_one_line() -> None:
    with pytest.raises(StageError, match=r"^'a\\x00b': no such file$"):
        read_text("a\0b")
    with pytest.raises(IsADirectoryError):
        read_text("/")


def test_a_file_that_can_not_be_read_to_its_end_is_named() -> None:
    with pytest.raises(OSError, match="Input/output error") as error, open_regular("/proc/self/mem") as file:
        file.read(1)
    assert error.value.filename == "/proc/self/mem"


def test_an_array_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    """NumPy's error has no number of the system's, and would look like a bug of ours."""

    def write() -> None:
        with bounded_files(4096), atomic_path(tmp_path / "index") as temporary:
            temporary.mkdir()
            np.save(temporary / "scores.npy", np.zeros(10_000))

    with pytest.raises(
        StageError, match=r"index: can't be written \(.* requested and .* written\); is the disk full\?"
    ):
        write()
    assert list(tmp_path.iterdir()) == []


def write_answers(folder: Path) -> Path:
    ResponseStore(folder / "responses.jsonl").add(response(request(), "x" * 10_000))
    return folder / "responses.jsonl"


def write_payment(folder: Path) -> Path:
    from decimal import Decimal

    spending = Spending(folder, "teacher")
    with spending.alone():
        spending.pay("k" * 10_000, 1, Decimal(1))
    return folder / "teacher.jsonl"


def write_vectors(folder: Path) -> Path:
    VectorStore(folder / "tiny.vectors", 2000).encode_missing(["a"], lambda texts: np.zeros((1, 2000), np.float32))
    return folder / "tiny.vectors"


@pytest.mark.parametrize("write", [write_answers, write_payment, write_vectors])
def test_what_is_appended_to_is_named_when_the_disk_is_full(tmp_path: Path, write: "object") -> None:
    with bounded_files(4096), pytest.raises(OSError, match="File too large") as error:
        write(tmp_path)  # type: ignore[operator]
    place = write(tmp_path)  # type: ignore[operator]
    assert error.value.filename == str(place)


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(ConnectionResetError) as error, name_file("here"):
        raise ConnectionResetError(104, "Connection reset by peer")
    assert error.value.filename is None
