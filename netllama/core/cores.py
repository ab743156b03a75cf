"""How many processor cores this process may use: the one place that counts them."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def count_cores() -> int:
    """The cores that this process may run on, or fewer where a container's quota gives less than their time."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(bound, read_quota(PROC / "self" / "cgroup", CGROUPS))))


def read_quota(membership: Path, root: Path) -> float:
    """The least quota, in cores, of the groups that `membership` (/proc/self/cgroup) lists, and of those above them.

    `root` is where the groups are mounted: in version 2 a tree of its own, in version 1 a tree for each controller.
    Inside a container a path may be the host's, which is not mounted: then the folders that are there count. Infinity
    where nothing is limited.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    quotas = [math.inf]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            quotas += [_read_version_2(folder) for folder in _climb(root, path)]
        elif "cpu" in controllers.split(","):
            quotas += [_read_version_1(folder) for tree in (controllers, "cpu") for folder in _climb(root / tree, path)]
    return min(quotas)


def _climb(root: Path, path: str) -> Iterator[Path]:
    """The folder of a group, and all above it up to the root."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    yield from (root.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1))


def _read_version_2(folder: Path) -> float:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() else math.inf


def _read_version_1(folder: Path) -> float:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
