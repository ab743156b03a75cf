"""How many cores this process may use: by its affinity and by the quotas of the groups that it is in."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from netllama.core import cores
from netllama.core.cores import count_cores, read_quota
from tests.support.clones import ROOT
from tests.support.source_tree import list_nodes

COUNT = "from netllama.core.cores import count_cores\nprint(count_cores())"


def write_files(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process can't be bound to cores here")
def test_a_process_that_is_bound_to_one_core_has_one() -> None:
    bound = f"import os\nos.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n{COUNT}"
    counted = subprocess.run([sys.executable, "-c", bound], cwd=ROOT, capture_output=True, text=True, check=True)
    assert counted.stdout == "1\n"


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/\n", {}, math.inf),
        ("0::/user.slice/job\n", {"user.slice/job/cpu.max": "max 100000", "user.slice/cpu.max": "200000 100000"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "300000 100000\n", "a/cpu.max": "max 100000", "cpu.max": "50000 100000"}, 0.5),
        # A container sees its own group as the root, under the host's path or another one.
        ("0::/docker/3f\n", {"cpu.max": "400000 100000\n"}, 4),
        ("0::/../other\n", {"cpu.max": "400000 100000\n"}, 4),
        # Version 1: a tree for each controller, and -1 for no quota.
        (
            "4:memory:/job\n3:cpu,cpuacct:/job\n",
            {"cpu,cpuacct/job/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n"},
            2.5,
        ),
        ("2:cpu:/job\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("3:cpu,cpuacct:/d\n", {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        # Both versions at once, as older systemd mounts them.
        (
            "1:cpuset:/\n0::/job\n",
            {"cpuset/cpu.cfs_quota_us": "100000", "cpuset/cpu.cfs_period_us": "100000"},
            math.inf,
        ),
    ],
)
def test_the_least_quota_of_a_group_and_those_above_it_counts(
    tmp_path: Path, groups: str, files: dict[str, str], quota: float
) -> None:
    write_files(tmp_path, {"membership": groups} | {f"root/{name}": text for name, text in files.items()})
    assert read_quota(tmp_path / "membership", tmp_path / "root") == quota


def test_where_there_are_no_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert read_quota(tmp_path / "missing", tmp_path) == math.inf


@pytest.mark.parametrize(("bound", "quota", "expected"), [(8, 2.5, 3), (2, 16.0, 2), (8, 0.2, 1), (4, math.inf, 4)])
def test_the_cores_are_those_that_both_allow(
    monkeypatch: pytest.MonkeyPatch, bound: int, quota: float, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(bound)), raising=False)
    monkeypatch.setattr(cores, "read_quota", lambda membership, root: quota)
    assert count_cores() == expected


def test_no_other_module_counts_processors() -> None:
    import ast

    names = {"cpu_count", "process_cpu_count", "sched_getaffinity"}
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("stages", "commands", "netllama", "testbed", "bench")
        for path in (ROOT / folder).rglob("*.py")
        for node in list_nodes(path)
        if (isinstance(node, ast.Attribute) and node.attr in names) or (isinstance(node, ast.Name) and node.id in names)
    }
    assert found == {"netllama/core/cores.py"}
