"""Makes what a script has left an ordinary tree again."""

import os
import stat
import subprocess
from pathlib import Path

from netllama.sandbox.view import DEEPEST


def tidy_folder(folder: Path) -> None:
    """Make what a script left in `folder` an ordinary tree: its owner can list and empty every part of it.

    Folders in folders in folders, more than DEEPEST, are removed.
    """
    waiting = [(str(folder), 0)]
    while waiting:
        path, depth = waiting.pop()
        Path(path).chmod(stat.S_IMODE(os.lstat(path).st_mode) | 0o700)
        with os.scandir(path) as found:
            inner = [each.path for each in found if each.is_dir(follow_symlinks=False)]
        if depth < DEEPEST:
            waiting += [(each, depth + 1) for each in inner]
            continue
        for each in inner:
            if subprocess.run(["rm", "-rf", "--", each], stderr=subprocess.DEVNULL).returncode:
                subprocess.run(["chmod", "-R", "u+rwx", "--", each], stderr=subprocess.DEVNULL)
                subprocess.run(["rm", "-rf", "--", each])
