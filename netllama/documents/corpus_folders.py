"""The folders that `retrieve.corpus` names."""

from collections.abc import Sequence
from pathlib import Path

from netllama.core.errors import StageError


def find_corpus_folders(root: Path, names: Sequence[str]) -> list[Path]:
    """`root`: the folder that holds them and is hashed. StageError for a name that is none of its folders."""
    for name in names:
        if not name or name == ".." or Path(name).parts != (Path(name).name,):
            raise StageError(
                f"retrieve.corpus: {name!r}: put the folder into {root}/, which is hashed, and give its name"
            )
        if not (root / name).is_dir():
            folders = root.iterdir() if root.is_dir() else ()
            there = ", ".join(sorted(path.name for path in folders if path.is_dir())) or "none"
            raise StageError(f"retrieve.corpus: {name}: no such folder in {root}/; there are {there}")
    return [root / name for name in names]
