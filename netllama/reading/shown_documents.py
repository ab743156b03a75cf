"""The text of chunks as a model is shown it, by their ids."""

from collections.abc import Mapping
from pathlib import Path

from netllama.core.errors import StageError
from netllama.documents.chunk_file import iter_chunks
from netllama.documents.document import show_chunk


def load_documents(path: Path) -> dict[str, str]:
    """`path`: data/retrieved/chunks.jsonl."""
    if not path.is_file():
        raise StageError(f"{path}: no such file; run `dvc repro retrieve`")
    return {chunk.id: show_chunk(chunk.headings, chunk.text) for chunk in iter_chunks(path)}


def find_texts(ids: list[str], documents: Mapping[str, str], asked: str) -> list[str]:
    """The texts of `ids`; StageError names the question `asked` whose document is missing."""
    missing = [name for name in ids if name not in documents]
    if missing:
        raise StageError(f"data/retrieved/: {asked} needs {missing[0]}, which is missing; run `dvc repro -f retrieve`")
    return [documents[name] for name in ids]
