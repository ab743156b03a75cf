"""Makes what a script has left an ordinary tree again."""

import os
import stat
import subprocess
from pathlib import Path

from netllama.sandbox.view import DEEPEST

_SET_ID = stat.S_ISUID | stat.S_ISGID


def tidy_folder(folder: Path) -> None:
    """Make `folder` a tree that its owner can list and empty, and that is of no use to others.

    Folders can be opened, root owns what its scripts made, and no file runs with its owner's rights. Folders in folders
    in folders, more than DEEPEST, are removed. Links are not followed.
    """
    waiting = [(str(folder), 0)]
    while waiting:
        path, depth = waiting.pop()
        _repair(path, 0o700)
        with os.scandir(path) as found:
            entries = list(found)
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                _repair(entry.path, 0)
            elif depth < DEEPEST:
                waiting.append((entry.path, depth + 1))
            elif subprocess.run(["rm", "-rf", "--", entry.path], stderr=subprocess.DEVNULL).returncode:
                subprocess.run(["chmod", "-R", "u+rwx", "--", entry.path], stderr=subprocess.DEVNULL)
                subprocess.run(["rm", "-rf", "--", entry.path])


def _repair(path: str, added: int) -> None:
    found = os.lstat(path)
    if not os.geteuid():
        os.chown(path, 0, 0, follow_symlinks=False)
    wanted = stat.S_IMODE(found.st_mode) & ~_SET_ID | added
    if wanted != stat.S_IMODE(found.st_mode) and not stat.S_ISLNK(found.st_mode):
        Path(path).chmod(wanted)
