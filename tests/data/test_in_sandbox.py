"""Scripts of the content do in the sandbox what they do in the interpreter that the other tests of the content use.

Samples of each family and kind, since a process in the sandbox costs a second of processor time, and most of it is the
import of libraries.
"""

from pathlib import Path

import pytest

from netllama.code_tasks.code_answers import run_code
from netllama.core.markdown import extract_python_blocks
from netllama.sandbox.sandbox import Sandbox
from testbed.script_runner import ScriptRun
from tests.support.shipped_data import load_shipped_questions, load_shipped_seeds

EVERY = 30
SAMPLES = {
    seed.id: ("\n\n".join(blocks), seed.scenario)
    for seeds in load_shipped_seeds().values()
    for seed in [seed for seed in seeds if extract_python_blocks(seed.output)][::EVERY]
    if (blocks := extract_python_blocks(seed.output))
} | {
    question.id: (question.answer, question.scenario)
    for question in [question for question in load_shipped_questions() if question.kind == "code"][::EVERY]
}
ENDS = {
    "an error": "import pandas\nprint(pandas.Series([1, 2]).sum())\nraise ValueError('of mine')",
    "an exit code": "import sys\nsys.exit(3)",
    "an exit with words": "raise SystemExit('no data')",
    "a syntax error": "print(",
    "a misuse": "import pybgpstream\nstream = pybgpstream.BGPStream()\nstream.add_filter('no such', '1')",
    "a signal": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
    "last words": (
        "import atexit\nclass Last:\n    def __del__(self):\n        print(self.word)\n"
        "atexit.register(print, 'at exit')\nlast = Last()\nlast.word, last.own = 'gone', last\nprint('ends', end='')"
    ),
    "its folder": "import os\nprint(sorted(os.listdir('.')), __name__)\nopen('new.txt', 'w').write('x')",
    "its order of sets": "print({str(number) for number in range(20)})",
}


def describe(run: ScriptRun, folder: Path) -> dict[str, object]:
    """All that the tests of the content look at, without the paths of this run."""
    return {
        "exit code": run.exit_code,
        "stdout": run.stdout,
        "last line of stderr": run.stderr.splitlines()[-1:],
        "files": [path.relative_to(folder) for path in run.files],
        "events": [{key: value for key, value in event.items() if key != "file"} for event in run.log],
        "opened": sorted(run.opened),
    }


def run_both(code: str, scenario: str, network: Path, folder: Path, *runners: Sandbox) -> list[dict[str, object]]:
    found = []
    for number, runner in enumerate(runners):
        place = folder / str(number)
        found.append(describe(run_code(code, scenario, network, place, runner), place))
    return found


@pytest.mark.parametrize("name", SAMPLES)
def test_a_script_does_the_same_in_the_sandbox(
    name: str, network: Path, sandbox: Sandbox, warm: Sandbox, tmp_path: Path
) -> None:
    alone, forked = run_both(*SAMPLES[name], network, tmp_path, sandbox, warm)
    assert forked == alone
    assert alone["exit code"] == 0


@pytest.mark.parametrize("name", ENDS)
def test_a_script_ends_in_the_same_way_in_the_sandbox(
    name: str, network: Path, sandbox: Sandbox, warm: Sandbox, tmp_path: Path
) -> None:
    alone, forked = run_both(ENDS[name], "", network, tmp_path, sandbox, warm)
    assert forked == alone


def test_scripts_share_nothing(network: Path, warm: Sandbox, tmp_path: Path) -> None:
    writes = "import os, pandas\npandas.left = 1\nos.environ['LEFT'] = '1'\nopen('left.txt', 'w').close()"
    looks = "import os, pandas\nprint(hasattr(pandas, 'left'), 'LEFT' in os.environ, os.path.exists('left.txt'))"
    run_code(writes, "", network, tmp_path / "writes", warm)
    assert run_code(looks, "", network, tmp_path / "looks", warm).stdout == "False False False\n"
