"""Every attempt to get out of the sandbox is contained, on every level of this machine, as root and as another user."""

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from netllama.sandbox.levels import BUBBLEWRAP, Level, list_levels
from netllama.sandbox.sandbox import FIXED
from netllama.sandbox.sandbox_choice import find_problem
from tests.support.clones import ROOT
from tests.support.sandbox_attacks import HEAVY, AttackOutcome, Ended

NOBODY = 65534
KILLED_BY_LIMITS = {
    "fork_bomb": ("CPU time", "wall time", "memory"),
    "memory_of_many": ("memory",),
    "many_files": ("disk",),
    "much_disk": ("disk",),
    "deep_folders": ("disk",),
    "endless_loop": ("CPU time",),
    "endless_loops": ("CPU time",),
    "unwaited_loops": ("CPU time",),
    "unlinked_files": ("disk",),
    "hidden_files": ("disk",),
    "unlistable_folders": ("disk",),
    "sleep": ("wall time",),
}
SHORT = ["fork_bomb", "memory_of_many", "daemon", "kills_all_it_can", "kills_its_watch", "ended_children"]
SHORT += ["unwaited_loops", "unlinked_files", "hidden_files", "unlistable_folders", "hidden_memory"]
SHORT += ["much_temporary"]
"""What the other user repeats in the plain suite; the rest of HEAVY only among the slow tests."""
REST = sorted(set(HEAVY) - set(SHORT))


def find_python() -> str:
    """A Python that NOBODY can run."""
    for path in (sys.executable, "/usr/bin/python3"):
        resolved = Path(path).resolve()
        if resolved.exists() and all(parent.stat().st_mode & 1 for parent in resolved.parents):
            return path
    return ""


def list_cases() -> list[tuple[str, int]]:
    """(level, user) that this machine can test."""
    users = [os.geteuid()]
    if not os.geteuid() and find_python() and all(parent.stat().st_mode & 1 for parent in (ROOT, *ROOT.parents)):
        users.append(NOBODY)
    levels = list_levels()
    if not os.geteuid() and (program := shutil.which("bwrap")):
        levels.append(Level(BUBBLEWRAP, program))
    return [
        (level.name, user)
        for level in levels
        for user in users
        if not find_problem(level) and (user, level.name) != (0, BUBBLEWRAP)
    ]


CASES = list_cases()
cases = pytest.mark.parametrize(("level", "user"), CASES, ids=[f"{level}-{user}" for level, user in CASES])

OTHERS = [case for case in CASES if case[1] != os.geteuid()]
others = pytest.mark.parametrize(("level", "user"), OTHERS, ids=[f"{level}-{user}" for level, user in OTHERS])


@cache
def run_attacks(level: str, user: int, rest: bool = False) -> AttackOutcome:
    """In a process of its own, which some attacks aim at."""
    own = user == os.geteuid()
    scripts = REST if rest else HEAVY if own else SHORT
    folder = Path(f"/tmp/sandbox-attacks-{os.getpid()}-{level}-{user}{'-rest' if rest else ''}")
    folder.mkdir()
    try:
        if not own:
            os.chown(folder, user, user)
        python = sys.executable if own else find_python()
        program = shutil.which("bwrap") or ""
        done = subprocess.run(
            [python, "-m", "tests.support.sandbox_attacks", level, program, str(folder), *scripts],
            cwd=ROOT,
            user=None if own else user,
            group=None if own else user,
            extra_groups=None if own else [],
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=500,
        )
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    return AttackOutcome(**values | {"heavy": {name: Ended(**ended) for name, ended in values["heavy"].items()}})


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox needs Linux")
def test_this_machine_has_a_sandbox() -> None:
    assert CASES


@cases
def test_no_probe_gets_out(level: str, user: int) -> None:
    outcome = run_attacks(level, user)
    probes = dict(outcome.probes)
    names = {each.partition("=")[0] for each in probes.pop("environment").split()}
    assert names - {"LD_LIBRARY_PATH"} == set(FIXED) | {"HOME", "PATH", "PYTHONPATH", "TMPDIR"}
    assert probes.pop("privileges") == 1  # type: ignore[comparison-overlap]  # no new ones by setuid programs
    if level == BUBBLEWRAP:  # its loopback is up, but it is the script's own: see `touched`
        assert [probes.pop(name) for name in ("send_by_udp", "send_by_udp_message")] == ["ESCAPED: 1"] * 2
    assert len(probes) > 60
    assert {name: text for name, text in probes.items() if not text.startswith("refused: ")} == {}


@cases
def test_nothing_outside_was_reached_or_changed(level: str, user: int) -> None:
    assert run_attacks(level, user).touched == []


@cases
def test_the_script_gets_no_open_file_but_its_streams(level: str, user: int) -> None:
    assert len(run_attacks(level, user).descriptors) == 3


@cases
def test_what_it_wanted_from_the_network_is_told(level: str, user: int) -> None:
    wanted = run_attacks(level, user).network
    assert {"open a TCP socket", "look up example.org"} <= set(wanted)


@cases
def test_no_script_leaves_a_process_or_a_folder_that_cannot_be_removed(level: str, user: int) -> None:
    heavy = run_attacks(level, user).heavy
    assert set(heavy) == set(HEAVY if user == os.geteuid() else SHORT)
    assert [name for name, ended in heavy.items() if ended.left or ended.entries < 0] == []


@cases
def test_what_exceeds_a_limit_is_ended_by_it(level: str, user: int) -> None:
    heavy = run_attacks(level, user).heavy
    assert find_unended(heavy) == {}
    assert heavy["much_temporary"].ended == "disk" or heavy["much_temporary"].stdout == "full\n"
    assert max(ended.entries for ended in heavy.values()) < 50_000


@cases
def test_what_keeps_to_its_limits_or_stumbles_over_them_ends_by_itself(level: str, user: int) -> None:
    heavy = run_attacks(level, user).heavy
    assert (heavy["kills_its_watch"].ended, heavy["kills_its_watch"].stdout) == ("exit", "done\n")
    assert (heavy["ended_children"].ended, heavy["ended_children"].stdout) == ("exit", "done\n")
    if level != BUBBLEWRAP:  # which brings a /dev/zero of its own
        assert (heavy["hidden_memory"].ended, heavy["hidden_memory"].stdout) == ("exit", "done\n")
    if user == os.geteuid():
        check_rest(heavy)


@pytest.mark.slow
@others
def test_the_other_user_is_contained_in_the_remaining_scripts_too(level: str, user: int) -> None:
    outcome = run_attacks(level, user, rest=True)
    heavy = outcome.heavy
    assert set(heavy) == set(REST)
    assert outcome.touched == []
    assert [name for name, ended in heavy.items() if ended.left or ended.entries < 0] == []
    assert find_unended(heavy) == {}
    check_rest(heavy)


def find_unended(heavy: dict[str, Ended]) -> dict[str, Ended]:
    """The scripts that no limit of theirs ended."""
    return {
        name: ended
        for name, ended in heavy.items()
        if name in KILLED_BY_LIMITS and (ended.ended not in KILLED_BY_LIMITS[name] or ended.exit_code is not None)
    }


def check_rest(heavy: dict[str, Ended]) -> None:
    """How scripts of REST end by themselves."""
    assert heavy["zombies"].stdout == "done\n"
    assert (heavy["kills_its_group"].ended, heavy["kills_its_group"].exit_code) == ("exit", -9)
    assert (heavy["leaves_at_once"].ended, heavy["leaves_at_once"].exit_code) == ("exit", 0)
    assert "MemoryError" in heavy["memory"].stdout
    assert 0 < int(heavy["polite_fork_bomb"].stdout) <= 80
    assert 0 < int(heavy["threads"].stdout) <= 80
    assert heavy["output"].ended == "output" or "File too large" in heavy["output"].stdout
    assert heavy["locked_folder"].exit_code == 0
