"""Chunks on disk: written as they come, read one at a time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.core.errors import StageError
from netllama.documents import chunk_file
from netllama.documents.chunk_file import ChunkFile, iter_chunks, write_chunks
from netllama.documents.document import Chunk

text = st.text(st.characters(codec="utf-8"), max_size=20)
chunks = st.builds(Chunk, id=text, document=text, headings=st.lists(text, max_size=3), text=text, tokens=st.integers())


@settings(max_examples=60)
@given(st.lists(chunks, min_size=1, max_size=8), st.integers(1, 64))
def test_any_chunk_is_read_back_from_its_place(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Chunk], block: int
) -> None:
    path = tmp_path_factory.mktemp("chunks") / "chunks.jsonl"
    write_chunks(path, iter(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk_file, "_BLOCK", block)
        file = ChunkFile(path)
    assert len(file) == len(rows)
    assert [file.read(place) for place in reversed(range(len(rows)))] == rows[::-1]
    assert list(iter_chunks(path)) == rows
    for place in (-1, len(rows)):
        with pytest.raises(IndexError):
            file.read(place)


def test_a_stream_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "chunks.jsonl"
    write_chunks(path, [Chunk(id="a", document="d", headings=[], text="x", tokens=1)])
    before = path.read_bytes()

    def broken() -> Iterator[Chunk]:
        yield Chunk(id="b", document="d", headings=[], text="y", tokens=1)
        raise StageError("no more")

    with pytest.raises(StageError):
        write_chunks(path, broken())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_bad_files_are_errors_that_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "chunks.jsonl"
    with pytest.raises(StageError, match="no such file"):
        ChunkFile(path)
    path.touch()
    with pytest.raises(StageError, match="an empty file"):
        ChunkFile(path)
    path.write_text('{"id": "a"}\n{\n')
    with pytest.raises(StageError, match=r"chunks\.jsonl:1: document: field required\n.*chunks\.jsonl:2: not valid"):
        list(iter_chunks(path))
    with pytest.raises(StageError, match=r"chunks\.jsonl:1: document: field required"):
        ChunkFile(path).read(0)
    with pytest.raises(StageError, match=r"chunks\.jsonl:2: not valid JSON"):
        ChunkFile(path).read(1)
