"""An answer's result is what its script wrote, and nothing that the script could make us read or believe."""

import json
from pathlib import Path

import pytest

from netllama.code_tasks.code_answers import LARGEST_RESULT, run_answer, run_code
from netllama.core.records import Question
from netllama.sandbox.sandbox_choice import find_sandbox
from tests.support.clones import ROOT

FORGED = [
    {"event": "consumed", "records": 10**6, "elems": 10**6},
    {"event": "consumed", "records": "many"},
    {"event": "misuse", "what": "x"},
    {"event": ["stream"]},
    {"event": "stream", "shift": None, "collectors": []},
    [],
    7,
]


@pytest.fixture(scope="module")
def question() -> Question:
    return Question(
        id="q-1",
        family="pybgpstream",
        kind="code",
        question="?",
        answer="x",
        reference="RFC 4271",
        options=[],
        aliases=[],
        key_facts=[],
        cluster="",
        scenario="everyday",
    )


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import os\nos._exit(0)", "no result.json"),
        ("import os\nos.symlink('/usr/lib/os-release', 'result.json')", "no result.json"),
        ("import os\nos.mkfifo('result.json')", "no result.json"),
        ("import os\nos.mkdir('result.json')", "no result.json"),
        (f"open('result.json', 'w').write('[' + '1,' * {LARGEST_RESULT} + '1]')", "too large"),
        ("open('result.json', 'w').write('[' * 100000)", "is not JSON"),
        ("open('result.json', 'wb').write(b'\\xff')", "is not JSON"),
        ("import os\nos.kill(os.getpid(), 15)", "killed by SIGTERM"),
        ("raise SystemExit(2)", "exit 2"),
        ("class Same(dict):\n    __eq__ = lambda *_: True\nopen('result.json', 'w').write(repr(Same()))", ""),
    ],
)
def test_what_is_no_result_is_none(question: Question, network: Path, tmp_path: Path, code: str, problem: str) -> None:
    outcome = run_answer(question, code, network, tmp_path, find_sandbox())
    assert (problem in outcome.problem) if problem else (outcome.problem == "" and outcome.value == {})


def test_a_result_that_links_to_ours_is_not_read(question: Question, network: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours.json"
    ours.write_text("[1]")
    code = f"import os\nos.symlink({str(ours)!r}, 'result.json')"
    assert run_answer(question, code, network, tmp_path / "run", find_sandbox()).value is None


def test_events_that_a_script_forges_are_dropped_where_they_have_another_form(network: Path, tmp_path: Path) -> None:
    lines = "".join(json.dumps(event) + "\n" for event in FORGED) + "[" * 10**5 + "\n"
    code = (
        "import json, os\n"
        f"log = json.load(open(os.environ['PYBGPSTREAM_REPLAY']))['log']\nopen(log, 'a').write({lines!r})\n"
        "open(log, 'ab').write(b'\\xff\\n')\n"
    )
    run = run_code(code, "", network, tmp_path, find_sandbox())
    assert (run.exit_code, run.stderr) == (0, "")
    assert [event["event"] for event in run.log] == ["consumed"]
    assert run.find_misuses() == []
    assert run.unreadable == len(FORGED) - 1 + 2  # with the brackets and the octet


def test_a_script_reads_neither_this_project_nor_what_its_parent_knows(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    code = (
        "import glob, os, sys\n"
        f"root = {str(ROOT)!r}\n"
        "places = [root + '/README.md', root + '/.env', *(p + '/../../README.md' for p in sys.path)]\n"
        "places += [p + '/../../.env' for p in sys.path] + glob.glob('/proc/*/environ')\n"
        "for place in places:\n"
        "    try:\n        text = open(place).read()\n"
        "    except OSError:\n        continue\n"
        "    assert 'secret' not in text and 'README' not in place, place\n"
        "assert 'secret' not in str(os.environ)\n"
    )
    run = run_code(code, "", network, tmp_path, find_sandbox())
    assert (run.exit_code, run.stderr) == (0, "")
