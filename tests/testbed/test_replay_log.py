"""The replay's log, which a script writes into, too: whatever its lines hold, it is read and told in printable text."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.replay_log import LARGEST, read_log
from testbed.run_summary import summarise_run
from testbed.script_runner import ScriptRun

MISUSE = {"event": "misuse", "what": "x", "detail": "said", "file": "script.py", "line": 3}
STREAM = {"event": "stream", "shift": 0, "collectors": {"rrc00": "rrc00"}}
CONSUMED = {"event": "consumed", "records": 2, "elems": 3}
LONG = "9" * 4300
"""The most digits that Python reads, and one more than it prints of a sum of two."""
UNREADABLE = {
    "a list for a name": json.dumps(STREAM | {"collectors": {"rrc00": ["rrc00"]}}),
    "a long number": json.dumps(CONSUMED).replace("2", LONG),
    "a longer number": json.dumps(CONSUMED).replace("2", LONG + "9"),
    "a number just too large": json.dumps(CONSUMED | {"records": LARGEST}),
    "a list for a text": json.dumps(MISUSE | {"detail": ["said"]}),
    "a fraction of a line": json.dumps(MISUSE | {"line": 1.5}),
    "an event that there is not": json.dumps(MISUSE | {"event": "remark"}),
    "a text": json.dumps("text"),
    "brackets": "[" * 10**5,
    "nothing": "",
}


def read_back(folder: Path, text: str | bytes) -> tuple[ScriptRun, str]:
    """(a run that left this log, its summary)"""
    log, work = folder / "log.jsonl", folder / "cwd"
    log.write_bytes(text if isinstance(text, bytes) else text.encode())
    events, unreadable = read_log(log)
    run = ScriptRun(0, "exit", 1.0, 1.0, "", "", [], [], events, unreadable)
    return run, summarise_run(run, folder / "script.py", work)


def test_events_are_read_and_a_line_that_was_not_finished_is_no_damage(tmp_path: Path) -> None:
    lines = [json.dumps(event) for event in (STREAM, MISUSE, CONSUMED)]
    run, summary = read_back(tmp_path, "\n".join([*lines, '{"event": "mis']))
    assert (run.log, run.unreadable) == ([STREAM, MISUSE, CONSUMED], 0)
    assert summary.splitlines()[1:] == [
        "pybgpstream: streams: 1, records read: 2, elements read: 3",
        "misuse:",
        "  line 3: said",
    ]


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_line_that_is_no_event_is_counted(name: str, tmp_path: Path) -> None:
    line = UNREADABLE[name]
    run, summary = read_back(tmp_path, f"{line}\n{json.dumps(CONSUMED)}\n{line}\n")
    assert (run.log, run.unreadable) == ([CONSUMED], 2)
    assert "lines that are no events: 2" in summary


def test_texts_of_a_script_steer_no_terminal_and_every_file_holds_them(tmp_path: Path) -> None:
    odd = "a\x1b[2J\nb\ud800\u202eä"
    events = [MISUSE | {"detail": odd, "file": odd}, STREAM | {"collectors": {odd: odd + "c"}}]
    run, summary = read_back(tmp_path, "".join(json.dumps(event) + "\n" for event in events))
    assert run.unreadable == 0
    assert run.find_misuses()[0]["detail"] == "a\\x1b[2J\\nb\\ud800\\u202eä"
    assert all(line.isprintable() for line in summary.splitlines())
    summary.encode()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=8,
)
events = st.builds(
    lambda base, more: base | more,
    st.sampled_from([MISUSE, STREAM, CONSUMED, {"event": "note"}]),
    st.dictionaries(st.sampled_from([*MISUSE, *STREAM, *CONSUMED]), values, max_size=3),
)


@given(written=st.lists(events | values, max_size=5), end=st.binary(max_size=10))
def test_no_log_raises(tmp_path_factory: pytest.TempPathFactory, written: list[object], end: bytes) -> None:
    folder = tmp_path_factory.mktemp("log")
    run, summary = read_back(folder, "".join(json.dumps(each) + "\n" for each in written).encode() + end)
    assert len(run.log) + run.unreadable == len(written) + end.count(b"\n")
    assert all(line.isprintable() for line in summary.splitlines())
    summary.encode()
