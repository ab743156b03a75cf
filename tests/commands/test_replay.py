"""The network as it is built, and a script that runs against it: what it finds, what it may not see, how it ends."""

import contextlib
import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from commands import replay
from commands.replay import convert_exit_code, extract_code, parse_arguments
from netllama.core.errors import StageError
from netllama.core.kept_folders import RECORD
from netllama.sandbox.exchange import Limits
from netllama.sandbox.sandbox import SHOWN, Mount
from netllama.sandbox.sandbox_choice import find_sandbox
from testbed.captures.capture_files import CAPTURES
from testbed.internet.scenarios import ROUTING
from testbed.measurements.measurement_files import MEASUREMENTS
from testbed.run_folders import KEPT
from testbed.run_summary import summarise_run
from testbed.script_runner import SHIMS, ScriptRun, furnish_folder, run_script
from tests.support.clones import ROOT
from tests.support.processes import is_running
from tests.support.stage_runs import Ended, run_here

ORIGINS = """
import pybgpstream
stream = pybgpstream.BGPStream(
    from_time="2021-03-01 08:00:00", until_time="2021-03-01 08:01:00", collectors=["rrc00"], record_type="ribs"
)
print(len({elem.fields["as-path"].split()[-1] for elem in stream}))
"""


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run(
    network: Path, tmp_path: Path, code: str, timeout: float = 60, scenario: str = "mixed", output_bytes: int = 2**24
) -> ScriptRun:
    work = tmp_path / "work"
    work.mkdir(parents=True)
    furnish_folder(work, network, scenario)
    script = tmp_path / "script.py"
    script.write_text(code, encoding="utf-8")
    limits = Limits(wall_seconds=timeout, output_bytes=output_bytes)
    marker = (str(tmp_path),)
    return run_script(script, work, tmp_path / "state", find_sandbox(), limits, now=1614585600, arguments=marker)


def command(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"DVC_ROOT": str(cwd), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "commands.replay", *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )


def command_here(*arguments: str, cwd: Path) -> Ended:
    with contextlib.chdir(cwd):
        return run_here(replay.main, *arguments, DVC_ROOT=str(cwd))


def test_the_network_holds_every_scenario_capture_and_measurement_with_its_truth(network: Path) -> None:
    assert {path.name for path in (network / "routing").iterdir()} == set(ROUTING)
    assert {path.name for path in (network / "captures").iterdir()} == {
        f"{name}.{suffix}" for name in CAPTURES for suffix in ("pcap", "json")
    }
    assert {path.name for path in (network / "measurements").iterdir()} == {
        f"{name}.{suffix}" for name in MEASUREMENTS for suffix in ("csv", "json")
    }


WRITE_ALL = """
import sys
from pathlib import Path
from testbed.captures.capture_files import CAPTURES, write_capture
from testbed.internet.archive import write_archive
from testbed.internet.scenarios import ROUTING
from testbed.measurements.measurement_files import MEASUREMENTS, write_measurements

folder = Path(sys.argv[1])
for name in reversed(MEASUREMENTS):
    write_measurements(name, 1, folder / "measurements")
for name in reversed(CAPTURES):
    write_capture(name, 1, folder / "captures")
for name in reversed(ROUTING):
    (folder / "routing" / name).mkdir(parents=True)
    write_archive(name, 1, folder / "routing" / name)
"""


def test_the_same_seed_gives_the_same_bytes_in_another_process_order_hash_seed_and_time_zone(
    network: Path, tmp_path: Path
) -> None:
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT), "TZ": "Asia/Kathmandu"}
    subprocess.run([sys.executable, "-c", WRITE_ALL, str(tmp_path)], env=environment, check=True)
    kept = {name: digest for name, digest in hashes(network).items() if name != RECORD}
    assert hashes(tmp_path) == kept


def test_another_seed_gives_another_network_of_the_same_kind(networks: Callable[[int], Path]) -> None:
    first, second = hashes(networks(1)), hashes(networks(2))
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] == second[name] and not name.endswith("index.csv")] == []


def test_nothing_of_the_network_is_in_git() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [name for name in tracked.split() if name.endswith((".pcap", ".gz", ".bz2", "truth.json"))] == []


def test_a_script_finds_data_but_no_truth(network: Path, tmp_path: Path) -> None:
    result = run(network, tmp_path, "import os\nprint(*sorted(os.listdir()), sep='\\n')")
    files = {"mrt", "index.csv", "capture.pcap"}
    files |= {f"{name}.pcap" for name in CAPTURES} | {f"{name}.csv" for name in MEASUREMENTS}
    assert set(result.stdout.split()) == files
    assert list((tmp_path / "work").rglob("*.json")) == []


def test_a_script_reads_streams_captures_and_measurements(network: Path, tmp_path: Path) -> None:
    code = ORIGINS + (
        "from scapy.all import rdpcap\nimport pandas\n"
        "print(len(rdpcap('capture.pcap')), len(pandas.read_csv('kpi.csv')))\n"
    )
    result = run(network, tmp_path, code)
    assert (result.exit_code, result.stderr) == (0, "")
    origins, packets, rows = map(int, result.stdout.split())
    truth = json.loads((network / "routing" / "mixed" / "truth.json").read_text())
    assert 20 < origins <= len({asn for asns in truth["origins"].values() for asn in asns}) + len(truth["as_sets"])
    assert packets == json.loads((network / "captures" / "mixed.json").read_text())["packets"]
    assert rows == json.loads((network / "measurements" / "kpi.json").read_text())["rows"]
    assert result.count_consumed()[1] == truth["counts"]["rrc00"]["ribs"]
    assert result.select_events("misuse") == []


def test_the_replay_is_on_the_path_of_the_script_only(network: Path, tmp_path: Path) -> None:
    code = "import pybgpstream, sys\nprint(pybgpstream.__file__, *sys.path, sep='\\n')"
    found, *path = run(network, tmp_path, code).stdout.splitlines()
    shims = find_sandbox().locate(Mount("shims", SHIMS))
    assert Path(found).is_relative_to(shims)
    assert shims in path
    assert str(ROOT) not in path
    assert [entry for entry in sys.path if Path(entry) == SHIMS] == []


def test_no_key_of_the_user_reaches_the_script(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("HF_TOKEN", "hf-secret")
    result = run(network, tmp_path, "import os\nprint(dict(os.environ))")
    assert result.exit_code == 0
    assert "secret" not in result.stdout


def test_what_a_script_writes_or_changes_is_listed_and_the_network_stays_as_it_is(
    network: Path, tmp_path: Path
) -> None:
    before = hashes(network)
    code = "open('result.json', 'w').write('{}')\nopen('kpi.csv', 'a').write('more')\nopen('mrt/x', 'w').write('')"
    result = run(network, tmp_path, code)
    names = [path.relative_to(tmp_path / "work").as_posix() for path in result.files]
    assert names == ["kpi.csv", "mrt/x", "result.json"]
    assert hashes(network) == before


def test_misuse_is_reported_with_its_line(network: Path, tmp_path: Path) -> None:
    code = "import pybgpstream\npybgpstream.BGPStream(project='ris',\n    filter='ipversion 5 or peer 1')\n"
    result = run(network, tmp_path, code)
    assert result.exit_code == 1
    assert "ValueError" in result.stderr
    (misuse,) = result.find_misuses()
    assert (misuse["what"], misuse["line"]) == ("filter-string", 2)
    assert "misuse:\n  line 2: 'ipversion 5 or peer 1'" in summarise_run(
        result, tmp_path / "script.py", tmp_path / "work"
    )


def test_a_script_without_end_is_stopped_with_all_that_it_started(network: Path, tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', sys.argv[1]])\n"
        "while True: pass\n"
    )
    result = run(network, tmp_path, code, timeout=2)
    assert result.exit_code is None
    assert "time is up" in summarise_run(result, tmp_path / "script.py", tmp_path / "work")
    assert not is_running(str(tmp_path))


def test_what_a_script_had_read_when_its_time_was_up_is_counted(network: Path, tmp_path: Path) -> None:
    code = (
        "import itertools, pybgpstream\n"
        "for elem in itertools.islice(pybgpstream.BGPStream(project='ris-live'), 50): pass\n"
        "for elem in pybgpstream.BGPStream(project='ris-live'):\n"
        "    while True: pass\n"
    )
    result = run(network, tmp_path, code, timeout=3)
    assert result.exit_code is None
    assert result.count_consumed()[1] == 51
    assert "line 4" in result.stderr


def test_a_script_that_ignores_the_interrupt_is_stopped_all_the_same(network: Path, tmp_path: Path) -> None:
    code = "import os, signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    result = run(network, tmp_path, code, timeout=1)
    assert result.exit_code is None
    assert not is_running(str(tmp_path))


def test_what_a_script_leaves_behind_is_stopped_too(network: Path, tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', sys.argv[1]])\n"
    )
    result = run(network, tmp_path, code)
    assert result.exit_code == 0
    assert not is_running(str(tmp_path))


def test_a_live_stream_begins_now_and_ends(network: Path, tmp_path: Path) -> None:
    code = (
        "import pybgpstream\n"
        "times = [elem.time for elem in pybgpstream.BGPStream(project='ris-live')]\n"
        "print(int(times[0] - 1614585600) // 60, len(times))\n"
    )
    result = run(network, tmp_path, code, scenario="everyday")
    counts = json.loads((network / "routing" / "everyday" / "truth.json").read_text())["counts"]
    ris = [counts["rrc00"], counts["rrc04"]]
    total = sum(each[kind] for each in ris for kind in ("announcements", "withdrawals", "peerstates"))
    assert result.stdout.split() == ["0", str(total)]


def test_an_unknown_scenario_or_capture_names_the_known_ones(network: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no scenario 'hijack'; there are everyday, prefix_hijack"):
        furnish_folder(tmp_path, network, "hijack")
    with pytest.raises(StageError, match="no capture 'tcp'; there are web, loss"):
        furnish_folder(tmp_path, network, capture="tcp")


def test_the_python_blocks_of_an_answer_are_run_one_after_the_other(tmp_path: Path) -> None:
    answer = tmp_path / "answer.md"
    answer.write_text("First\n```python\nx = 1\n```\nthen\n```bash\nls\n```\n```py\nprint(x)\n```\n", encoding="utf-8")
    assert extract_code(answer) == "x = 1\n\n\nprint(x)\n"
    answer.write_text("1. So:\n   ```\n   if x:\n       print(x)\n   ```\n", encoding="utf-8")
    assert extract_code(answer) == "if x:\n    print(x)\n"
    answer.write_text("No code.", encoding="utf-8")
    with pytest.raises(StageError, match=r"answer\.md: has no ```python block"):
        extract_code(answer)
    answer.write_text("Cut off:\n```python\nx = 1\n", encoding="utf-8")
    with pytest.raises(StageError, match=r"answer\.md: its last code block has no closing ```"):
        extract_code(answer)


def test_a_killed_script_ends_as_a_shell_says_it_and_what_it_had_read_is_not_counted(
    network: Path, tmp_path: Path
) -> None:
    code = (
        "import os, pybgpstream\nfor elem in pybgpstream.BGPStream(project='ris-live'):\n    os.kill(os.getpid(), 9)\n"
    )
    result = run(network, tmp_path, code)
    assert (result.describe_end(), convert_exit_code(result.exit_code, result.ended)) == ("killed by SIGKILL", 137)
    assert "still open when the script was stopped: 1" in summarise_run(
        result, tmp_path / "script.py", tmp_path / "work"
    )


def test_ctrl_c_ends_a_script_even_below_a_parent_that_ignores_it(network: Path, tmp_path: Path) -> None:
    """As every background job of a shell does; what is ignored stays ignored in a new program."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        result = run(network, tmp_path, "while True: pass", timeout=0.5)
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.exit_code is None
    assert "KeyboardInterrupt" in result.stderr


def test_a_script_that_prints_without_end_fills_neither_memory_nor_disk(network: Path, tmp_path: Path) -> None:
    result = run(network, tmp_path, "while True: print('x' * 10000)", output_bytes=2**22)
    assert result.describe_end() == "stopped: it printed too much"
    assert len(result.stdout) == SHOWN


def test_a_script_that_prints_too_much_at_once_and_ends_is_told_from_one_that_ends_well(
    network: Path, tmp_path: Path
) -> None:
    """It is over before anyone looks at it while it runs."""
    code = "import os; os.write(1, b'x' * (2**20 {}))"
    much, allowed = (
        run(network, tmp_path / name, code.format(more), output_bytes=2**20) for name, more in (("a", "+ 1"), ("b", ""))
    )
    assert much.describe_end() == "stopped: it printed too much"
    assert allowed.describe_end() == "exit 0"


def test_a_script_prints_the_same_every_time(network: Path, tmp_path: Path) -> None:
    code = "import pybgpstream\nfor elem in pybgpstream.BGPStream(1614585600, 1614585900): print(elem)"
    first, second = (run(network, tmp_path / name, code) for name in ("first", "second"))
    assert (first.stdout, first.exit_code) == (second.stdout, 0)
    assert len(first.stdout.splitlines()) > 1000


def test_windows_that_follow_one_another_are_those_of_one_hour(network: Path, tmp_path: Path) -> None:
    code = (
        "import pybgpstream\n"
        "def times(begin, end, kind):\n"
        "    stream = pybgpstream.BGPStream(begin, end, collectors=['rrc00'], record_types=[kind])\n"
        "    return [elem.time for elem in stream]\n"
        "start = 1614585600\n"
        "print(len(times(start - 300, start + 300, 'ribs')))\n"
        "print(*times(start, start + 3600, 'updates'))\n"
        "print(*(t for i in range(4) for t in times(start + 900 * i, start + 900 * i + 899, 'updates')))\n"
        "print(*times(0, 3600, 'updates'))\n"
    )
    table, whole, parts, elsewhere = run(network, tmp_path, code).stdout.splitlines()
    truth = json.loads((network / "routing" / "mixed" / "truth.json").read_text())["counts"]["rrc00"]
    assert int(table) == truth["ribs"]
    assert parts == whole
    assert len(whole.split()) == truth["announcements"] + truth["withdrawals"] + truth["peerstates"]
    assert float(elsewhere.split()[0]) < 3600


def test_what_was_removed_is_listed_and_odd_names_do_not_steer_the_terminal(network: Path, tmp_path: Path) -> None:
    code = "import os\nos.remove('kpi.csv')\nopen('\\x1b[2J', 'w').write('')\nos.symlink('/etc/passwd', 'p')"
    result = run(network, tmp_path, code)
    lines = summarise_run(result, tmp_path / "script.py", tmp_path / "work").splitlines()
    assert "  '\\x1b[2J' (0 bytes)" in lines
    assert "  p (11 bytes)" in lines
    assert lines[-2:] == ["removed:", "  kpi.csv"]


def test_what_gave_nothing_and_what_was_handled_is_noted_not_held_against_the_script(
    network: Path, tmp_path: Path
) -> None:
    code = (
        "import pybgpstream\n"
        "for elem in pybgpstream.BGPStream(1614585600, 1614585660, collectors=['rrc21'], filter='peer 1'): pass\n"
        "for elem in pybgpstream.BGPStream(1614585600, 1614589200, filter='elemtype withdrawals'):\n"
        "    getattr(elem, 'prefix', None)\n"
    )
    result = run(network, tmp_path, code)
    text = summarise_run(result, tmp_path / "script.py", tmp_path / "work")
    assert "misuse" not in text
    assert "noted:\n  line 2: " in text
    assert "  line 4: elem has no attribute 'prefix'" in text
    assert "times are shifted by -95040000 s against truth.json; rrc0" in text
    assert "stands in for rrc21" in text


def test_the_command_shows_output_files_and_what_there_was_to_find(network: Path, tmp_path: Path) -> None:
    (tmp_path / ".scratch").mkdir()
    (tmp_path / ".scratch" / "network").symlink_to(network.parent)
    script = tmp_path / "origins.py"
    script.write_text(ORIGINS + "open('out.txt', 'w').write('done')\nraise SystemExit(3)\n", encoding="utf-8")
    done = command(str(script), "--scenario", "moas", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith(find_sandbox().statement)
    lines = done.stdout.splitlines()
    assert int(lines[0]) > 20
    assert lines[1] == "--"
    assert lines[2].startswith("exit 3 after")
    assert "  out.txt (4 bytes)" in lines
    truth = next(line.split(": ")[1] for line in lines if line.startswith("ground truth"))
    assert json.loads((tmp_path / truth).read_text())["scenario"] == "moas"


ARGUMENTS = """
import pathlib, sys, time
print(sys.argv[1:])
pathlib.Path("mine").write_text(pathlib.Path("index.csv").read_text() + pathlib.Path("kpi.csv").read_text())
pathlib.Path(sys.argv[1]).touch()
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.01)
assert pathlib.Path("mine").read_text().endswith(pathlib.Path("kpi.csv").read_text())
"""


def test_two_replays_of_one_script_at_once_have_a_network_and_a_folder_each(
    networks: Callable[[int], Path], tmp_path: Path
) -> None:
    (tmp_path / ".scratch").mkdir()
    (tmp_path / ".scratch" / "network").symlink_to(networks(1).parent)
    networks(2)
    script = tmp_path / "script.py"
    script.write_text(ARGUMENTS, encoding="utf-8")
    flags = [str(tmp_path / name) for name in "ab"]
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(command, str(script), "--unsafe", "--seed", str(seed), "--", *order, "--seed", cwd=tmp_path)
            for seed, order in ((1, flags), (2, flags[::-1]))
        ]
        done = [run.result() for run in runs]
    assert [each.returncode for each in done] == [0, 0], done
    assert all(each.stderr.startswith("no sandbox: the script runs with your rights") for each in done)
    folders = [each.stdout.rpartition("working folder: ")[2].split()[0] for each in done]
    for seed, order, each, folder in zip((1, 2), (flags, flags[::-1]), done, folders, strict=True):
        assert each.stdout.startswith(f"{[*order, '--seed']}\n--\nexit 0")
        assert f"(the last {KEPT} runs are kept)" in each.stdout
        own = networks(seed)
        parts = [own / "routing" / "mixed" / "index.csv", own / "measurements" / "kpi.csv"]
        assert (tmp_path / folder / "mine").read_text() == "".join(part.read_text() for part in parts)


@pytest.mark.parametrize(
    ("given", "own", "scripts"),
    [
        (["x.py"], [], []),
        (["x.py", "--seed", "2", "--", "--list", "a b"], ["2"], ["--list", "a b"]),
        (["--seed", "3", "x.py", "--"], ["3"], []),
        (["x.py", "--", "--", "-h", ""], [], ["--", "-h", ""]),
    ],
)
def test_what_follows_two_hyphens_is_the_scripts(given: list[str], own: list[str], scripts: list[str]) -> None:
    parsed = parse_arguments(given)
    assert (parsed.script, parsed.seed, parsed.arguments) == (Path("x.py"), int(own[0]) if own else 1, scripts)


def test_the_command_without_script_with_a_missing_one_and_with_an_unknown_scenario(tmp_path: Path) -> None:
    assert "name a script" in command_here(cwd=tmp_path).stderr
    missing = command_here("nothing.py", cwd=tmp_path)
    assert (missing.returncode, missing.stderr.strip()) == (1, "error: nothing.py: no such file")
    unknown = command_here("x.py", "--scenario", "hijack", cwd=tmp_path)
    assert unknown.returncode == 2
    assert "prefix_hijack" in unknown.stderr
    for timeout in ("nan", "0", "-1", "soon"):
        stderr = command_here("x.py", "--timeout", timeout, cwd=tmp_path).stderr
        assert f"argument --timeout: '{timeout}' is not a positive number of seconds" in stderr


def test_the_list_names_everything_there_is(tmp_path: Path) -> None:
    listed = command_here("--list", cwd=tmp_path)
    assert listed.returncode == 0
    names = {line.split()[0] for line in listed.stdout.splitlines() if line.startswith("  ")}
    assert names == set(ROUTING) | set(CAPTURES) | set(MEASUREMENTS)


@pytest.mark.parametrize(
    ("exit_code", "ended", "status"),
    [
        (3, "exit", 3),
        (-15, "exit", 143),
        *((None, f"{kind} time", 124) for kind in ("wall", "CPU", "idle")),
        *((None, kind, 137) for kind in ("memory", "output", "disk")),
        (None, "stopped", 143),
    ],
)
def test_only_time_ends_with_the_exit_code_of_timeout(exit_code: int | None, ended: str, status: int) -> None:
    assert convert_exit_code(exit_code, ended) == status


def test_a_script_has_no_hold_of_the_terminal_or_of_the_file_that_the_command_prints_into(
    network: Path, tmp_path: Path
) -> None:
    (tmp_path / ".scratch").mkdir()
    (tmp_path / ".scratch" / "network").symlink_to(network.parent)
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\nprint([os.isatty(n) for n in range(3)], 'ä\\x1b[2J', flush=True)\n"
        "print('\\x1b[6n', file=sys.stderr)\nprint(os.read(0, 9))\n"
    )
    environment = os.environ | {"DVC_ROOT": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "commands.replay", str(script)]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal that nobody holds
        while octets := os.read(ours, 1000):
            shown += octets
    os.close(ours)
    assert process.wait() == 0
    assert "[False, False, False] ä\\x1b[2J\r\n" in shown.decode()
    assert "\\x1b[6n\r\n" in shown.decode()
    assert b"\x1b" not in shown
    script.write_text("import os\nos.ftruncate(1, 0)\nos.ftruncate(2, 0)\nprint('after')\n")
    with (tmp_path / "log").open("w") as log:
        log.write("before\n")
        log.flush()
        assert subprocess.run(command, cwd=tmp_path, env=environment, stdout=log, stderr=log).returncode == 0
    text = (tmp_path / "log").read_text()
    assert text.startswith("before\n")
    assert "\nafter\n--\nexit 0 after" in text


def test_ctrl_c_ends_the_script_with_the_command(network: Path, tmp_path: Path) -> None:
    (tmp_path / ".scratch").mkdir()
    (tmp_path / ".scratch" / "network").symlink_to(network.parent)
    script = tmp_path / "endless.py"
    script.write_text("import os\nprint(os.getpid(), flush=True)\nwhile True: pass\n", encoding="utf-8")
    environment = os.environ | {"DVC_ROOT": str(tmp_path), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "commands.replay", str(script), "--", f"marked {tmp_path}"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in stderr) == (130, False)
    assert "stopped; its files are in" in stdout
    assert not is_running(f"marked {tmp_path}")
