"""The Python in the notes on 5G, packets and performance: each block runs as it stands and prints what it says.

A line `print(...)  # text` prints that text. So whatever a note claims about a library is checked on the installed one.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from netllama.core.markdown import extract_python_blocks
from tests.support import example_runner
from tests.support.shipped_data import SELF_CONTAINED, list_shipped_notes

NOTES = list_shipped_notes(*SELF_CONTAINED)
SAID = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)


def find_faults(examples: list[tuple[str, str]]) -> list[str]:
    """(name, script) of all examples, run in one process; what is wrong with them, by name."""
    command = [sys.executable, example_runner.__file__]
    given = json.dumps([script for _, script in examples])
    ran = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    faults = []
    for (name, script), (printed, error) in zip(examples, json.loads(ran.stdout), strict=True):
        said = SAID.findall(script)
        if error:
            faults.append(f"{name}: {error}")
        elif not said or printed.splitlines() != said:
            faults.append(f"{name}: says {said}, prints {printed.splitlines()}")
    return faults


def name_examples(path: Path) -> list[tuple[str, str]]:
    blocks = extract_python_blocks(path.read_text(encoding="utf-8"))
    return [(f"{path.parent.name}/{path.name}, block {number}", block) for number, block in enumerate(blocks, 1)]


def test_every_block_of_the_notes_runs_and_prints_what_it_says() -> None:
    examples = [example for path in NOTES for example in name_examples(path)]
    assert len(examples) > 90
    assert find_faults(examples) == []


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("print(1 + 1)  # 3", "x: says ['3'], prints ['2']"),
        ("print(1)  # 1\nprint(2)", "x: says ['1'], prints ['1', '2']"),
        ("value = 1", "x: says [], prints []"),
        ("print(missing)  # 1", "x: NameError(\"name 'missing' is not defined\")"),
        ("raise SystemExit(0)", "x: SystemExit(0)"),
    ],
    ids=["wrong", "unsaid", "silent", "error", "exit"],
)
def test_a_block_that_is_wrong_is_noticed(script: str, fault: str) -> None:
    assert find_faults([("before", "print(0)  # 0"), ("x", script)]) == [fault]


def test_blocks_share_neither_names_nor_files() -> None:
    writes = "left = 1\nopen('left.txt', 'w').close()\nprint(left)  # 1"
    looks = "import os\nprint(os.listdir('.'), 'left' in globals())  # [] False"
    assert find_faults([("writes", writes), ("looks", looks)]) == []
