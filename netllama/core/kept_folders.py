"""Folders that are made once and kept in a cache, with the hash of each file: damage is found before it is read."""

from pathlib import Path

from netllama.core.errors import StageError
from netllama.core.files import hash_file, read_json, write_json

RECORD = "hashes.json"
"""SHA-256 of each file of a kept folder, by its path in it."""


def record_hashes(folder: Path) -> None:
    """Write down what is in a new folder. It is the last file that is written to it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    write_json(folder / RECORD, {path.relative_to(folder).as_posix(): hash_file(path) for path in files})


def find_damage(folder: Path, verify: bool = True) -> str:
    """What is wrong with a kept folder; empty: nothing. Without `verify`: whether it is there."""
    if not folder.is_dir():
        return "is not there"
    if not verify:
        return ""
    try:
        recorded = read_json(folder / RECORD)
    except StageError:
        return f"{RECORD} can't be read, or an older version made it without"
    if not isinstance(recorded, dict) or not recorded:
        return f"{RECORD} is damaged"
    for name, expected in sorted(recorded.items()):
        if not (folder / name).is_file():
            return f"{name} is missing"
        if hash_file(folder / name) != expected:
            return f"{name} is damaged"
    return ""
