"""What /proc tells about processes: which there are, what they use, and who descends from whom."""

import os
import signal
import stat
import time


def list_all_processes() -> list[int]:
    """None where there is no /proc."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def list_descendants() -> list[int]:
    """The processes that descend from this one."""
    parents = {}
    for pid in list_all_processes():
        try:
            parents[pid] = int(read_stat(pid)[1])
        except (OSError, ValueError, IndexError):
            pass
    own = os.getpid()
    descendants, before = {own}, 0
    while len(descendants) > before:
        before = len(descendants)
        descendants |= {pid for pid, parent in parents.items() if parent in descendants}
    return sorted(descendants - {own})


def end_processes(apart: bool) -> dict[int, int]:
    """Kill every other process of this namespace (`apart`) or every descendant until none is left: what is killed
    starts nothing more. Their wait statuses, by process.
    """
    statuses: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return statuses
        if pid:
            statuses[pid] = status
            continue
        for pid in [-1] if apart else list_descendants():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        time.sleep(0.002)


def count_threads(user: int) -> int:
    """Threads of all processes of a user, which RLIMIT_NPROC counts."""
    count = 0
    for pid in list_all_processes():
        try:
            if os.stat(f"/proc/{pid}").st_uid == user:
                count += int(read_stat(pid)[17])
        except (OSError, ValueError, IndexError):
            pass
    return count


def read_stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: after the name, which may hold anything."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def measure_share(pid: int) -> int:
    """Octets of memory, of which a page that n processes share counts as 1/n; none of a process that has ended.

    OSError where the kernel does not tell.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii", errors="replace") as file:
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
    except OSError:
        if _has_memory(pid):
            raise
        return 0


def measure_unlinked(pids: list[int]) -> int:
    """Octets on the disk of the files without a name that these processes hold open.

    PermissionError where a process does not let itself be looked at.
    """
    found = {}
    for pid in pids:
        for name in _list_descriptors(pid):
            try:
                seen = os.stat(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue  # it has closed the file
            if seen.st_nlink == 0 and stat.S_ISREG(seen.st_mode):
                found[seen.st_dev, seen.st_ino] = seen.st_blocks * 512
    return sum(found.values())


def _list_descriptors(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/fd")
    except OSError:
        if _has_memory(pid):
            raise
        return []


def _has_memory(pid: int) -> bool:
    """Whether a process has not ended: one that is ending has none any more, and the kernel tells only root of it."""
    try:
        return read_stat(pid)[20] != "0"
    except (OSError, IndexError):
        return False
