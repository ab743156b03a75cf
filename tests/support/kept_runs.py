"""Runs of stages that many tests begin with, each made once a process."""

import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path

from netllama.core.files import hash_json

Files = dict[str, bytes]
_KEPT: dict[str, tuple[Files, str]] = {}


def run_kept(main: Callable[[], None]) -> None:
    """`main()`; where it ran before in a folder of the same content, write the same files and print the same lines.

    What is patched is no part of that: a test that patches something calls `main` itself.
    """
    before = read_files()
    key = hash_json([main.__module__, {name: hash(content) for name, content in before.items()}])
    if key not in _KEPT:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            main()
        after = read_files()
        assert not before.keys() - after.keys(), "it removes nothing, which would have to be repeated"
        changed = {name: content for name, content in after.items() if before.get(name) != content}
        _KEPT[key] = changed, out.getvalue()
    else:
        for name, content in _KEPT[key][0].items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(content)
    sys.stdout.write(_KEPT[key][1])


def read_files() -> Files:
    """All files of the current folder, by their path."""
    return {path.as_posix(): path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}
