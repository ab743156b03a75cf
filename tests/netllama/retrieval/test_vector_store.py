"""Vectors are made once, whatever ends the process; a damaged one is made again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from netllama.retrieval import vector_store
from netllama.retrieval.vector_store import VectorStore
from tests.support.racing import race


class CountingEncoder:
    """Remembers what it was asked for; the vector of a text says how long it is."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return np.array([[len(text), len(text) / 3, 1] for text in texts], np.float32)


def test_a_text_is_encoded_once_and_each_gets_its_vector(tmp_path: Path) -> None:
    encode, path = CountingEncoder(), tmp_path / "tiny.vectors"
    first = VectorStore(path, 3).encode_missing(["ab", "c", "ab"], encode)
    assert first.tolist() == encode(["ab", "c", "ab"]).tolist()
    encode.asked.clear()
    second = VectorStore(path, 3).encode_missing(["new", "c", "ab"], encode)
    assert encode.asked == ["new"]
    assert second[1:].tobytes() == first[[1, 0]].tobytes()
    assert VectorStore(path, 3).encode_missing([], encode).shape == (0, 3)


def test_an_unfinished_record_is_cut_off_and_a_damaged_one_made_again(tmp_path: Path) -> None:
    encode, path = CountingEncoder(), tmp_path / "tiny.vectors"
    whole = VectorStore(path, 3).encode_missing(["a", "bb", "ccc"], encode)
    data = bytearray(path.read_bytes())
    record = len(data) // 3
    data[2 * record - 1] ^= 1  # in the second's vector
    path.write_bytes(data[:-5])
    encode.asked.clear()
    again = VectorStore(path, 3).encode_missing(["a", "bb", "ccc"], encode)
    assert encode.asked == ["bb", "ccc"]
    assert again.tobytes() == whole.tobytes()
    encode.asked.clear()
    VectorStore(path, 3).encode_missing(["a", "bb", "ccc"], encode)
    assert encode.asked == []


def test_a_run_that_is_interrupted_keeps_what_it_has_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_store, "AT_A_TIME", 2)
    encode, path = CountingEncoder(), tmp_path / "tiny.vectors"

    def stop_at_third(texts: Sequence[str]) -> NDArray[np.float32]:
        if "ccc" in texts:
            raise KeyboardInterrupt
        return encode(texts)

    texts = ["a", "bb", "ccc", "dddd"]
    with pytest.raises(KeyboardInterrupt):
        VectorStore(path, 3).encode_missing(texts, stop_at_third)
    encode.asked.clear()
    VectorStore(path, 3).encode_missing(texts, encode)
    assert encode.asked == ["ccc", "dddd"]


WRITE = """
import numpy as np
from pathlib import Path
from netllama.retrieval.vector_store import VectorStore
encode = lambda texts: np.array([[len(text), 1, 2] for text in texts], np.float32)
for number in range(40):
    VectorStore(Path("shared.vectors"), 3).encode_missing(["x" * number + "NAME"], encode)
"""


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    race(tmp_path, "", WRITE.replace("NAME", "a"), WRITE.replace("NAME", "b"))
    encode = CountingEncoder()
    texts = ["x" * number + name for number in range(40) for name in "ab"]
    VectorStore(tmp_path / "shared.vectors", 3).encode_missing(texts, encode)
    assert encode.asked == []
