"""Adapters that many tests begin with, each made once a process."""

from collections.abc import Callable
from pathlib import Path

from netllama.core.files import hash_file, hash_json

_KEPT: dict[str, dict[str, bytes]] = {}


def write_kept_adapter(folder: Path, make: Callable[[], None], *made_of: object) -> None:
    """`make()` writes an adapter into `folder`; where it did so before, the same files are written without it.

    `made_of`: all that its bytes depend on, beside the model in tiny/; what JSON can say.
    """
    model = {path.name: hash_file(path) for path in sorted(Path("tiny").iterdir())}
    key = hash_json([make.__qualname__, model, list(made_of)])
    if key not in _KEPT:
        make()
        _KEPT[key] = {path.name: path.read_bytes() for path in folder.iterdir()}
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _KEPT[key].items():
        (folder / name).write_bytes(content)
