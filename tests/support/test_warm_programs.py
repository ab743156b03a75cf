"""A forked program is to its caller what one that starts anew would be."""

import os
import signal
import subprocess
from pathlib import Path

from tests.support.warm_programs import open_warm_program

TELLS = "import os, sys\nprint(os.getcwd(), os.environ['WORD'], sys.argv[1:], sys.stdin.read())\nsys.exit(3)\n"


def test_a_warm_program_has_its_callers_folder_words_environment_and_streams_and_ends_as_it_ends(
    tmp_path: Path,
) -> None:
    (tmp_path / "tells.py").write_text(TELLS)
    (tmp_path / "dies.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    with open_warm_program("python", []) as programs:

        def run(module: str, *words: str) -> "subprocess.CompletedProcess[str]":
            return subprocess.run(
                [programs / "python", "-m", module, *words],
                cwd=tmp_path,
                env=os.environ | {"WORD": "said"},
                input="read",
                capture_output=True,
                text=True,
            )

        for _ in range(2):
            told = run("tells", "a b", "-c")
            assert (told.returncode, told.stdout) == (3, f"{tmp_path} said ['a b', '-c'] read\n"), told.stderr
        assert run("dies").returncode == -signal.SIGKILL
        assert "No module named no_such" in run("no_such").stderr
    assert not programs.exists()
