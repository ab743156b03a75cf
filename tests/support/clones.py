"""Working copies of the repository, to type commands in."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from netllama.core.metrics import read_details

ROOT = Path(__file__).parent.parent.parent


def make_clone(folder: Path) -> Path:
    """A git clone of the repository as it stands, uncommitted changes included, committed there."""

    def git(*arguments: str, cwd: Path = folder) -> str:
        return subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout

    git("clone", "--quiet", str(ROOT), str(folder), cwd=ROOT)
    for name in git("ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git("config", "user.email", "tests@localhost")
    git("config", "user.name", "tests")
    git("add", "-A")
    git("commit", "--quiet", "--allow-empty", "-m", "as it stands")
    return folder


class Clone:
    """A clone to type commands in."""

    def __init__(self, folder: Path, *programs: Path) -> None:
        """`programs`: folders with the first `dvc` or `python` to be found (tests/support/warm_programs.py)."""
        self.folder = folder
        found = [*map(str, programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        self.environment = os.environ | {"PATH": os.pathsep.join(found)}
        for name in ("DVC_ROOT", "OPENAI_API_KEY"):
            self.environment.pop(name, None)

    def run(self, *command: str, fails: bool = False) -> str:
        """What the command printed; its exit code must be 0, or with `fails` anything else."""
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        output = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, output[-4000:]
        return output

    def ran(self, output: str) -> set[str]:
        return set(re.findall(r"Running stage '(\w+)'", output))

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "--quiet", "-m", message)

    def details(self, name: str) -> Any:
        """All numbers of a metrics file."""
        return read_details(self.folder / name)

    def edit(self, **changes: Any) -> None:
        """params.yaml with other values, in the style of DVC: an override must not change a line more."""
        from dvc.utils.serialize import modify_yaml  # half a second, which most runs of tests need not spend

        with modify_yaml(self.folder / "params.yaml") as params:
            for key, value in changes.items():
                section, _, name = key.partition(".")
                (params[section] if name else params)[name or section] = value
