"""Watches a running script: its time, memory, processes and disk; ends it with all that it started.

It runs in the launcher, as process 1 of the script's namespace or as the one to which orphans are handed.
"""

import os
import resource
import signal
import time

from netllama.sandbox.exchange import LaunchReport, Limits
from netllama.sandbox.processes import (
    end_processes,
    list_all_processes,
    list_descendants,
    measure_share,
    measure_unlinked,
    read_stat,
)
from netllama.sandbox.view import measure_folder

POLL = 0.05
"""Seconds between two looks at memory, CPU time and disk."""
GRACE = 2.0
"""Seconds between the interrupt at the end of a script's time and its end."""
_ASLEEP = {"S", "T", "t", "Z"}
"""States of processes that wait for something else than the processor or the disk (proc_pid_stat(5))."""
_SENT_BY_KILL = 0
"""SI_USER: a process can send other codes with whatever sender it names (rt_sigqueueinfo(2)), but not this one."""
_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


class ScriptWatch:
    """One run of a script, seen from the process that started it."""

    def __init__(self, child: int, limits: Limits, writable: list[str], level: str) -> None:
        """`writable`: the folders and files that the script can write, and that outlast it."""
        self.child, self.limits, self.writable = child, limits, writable
        self.apart = level in ("namespaces", "bubblewrap")
        self.report = LaunchReport()
        self.began = self.looked = time.monotonic()
        self.idle = 0.0
        self.spent: dict[tuple[int, str], int] = {}
        """Processor time of each process that was seen, in ticks, by its number and its start."""
        self.size = self._measure_disk(10**7)
        self.sees_files = level != "none" and _look_for_unlinked([child]) is not None
        self.outputs = [number for number in (1, 2) if not os.isatty(number)]

    def run(self) -> LaunchReport:
        """Wait for the script's end, or end it. SIGCHLD and SIGTERM must be blocked."""
        report = self.report
        while report.status is None and report.ended == "exit":
            woken = signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM}, POLL)
            if woken is not None and woken.si_signo == signal.SIGTERM and self._comes_from_outside(woken):
                report.ended = "stopped"
            elif not self._reap():
                report.ended = self._find_excess()
        if report.ended in ("wall time", "CPU time", "idle time"):
            self._interrupt()
        report.status = end_processes(self.apart).get(self.child, report.status)
        # It may have ended by itself between two looks: of the largest file that it may write, for instance.
        if report.ended == "exit" and self._has_printed_too_much():
            report.ended = "output"
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        report.cpu_seconds = round(max(usage.ru_utime + usage.ru_stime, self._sum_spent()), 3)
        report.peak_bytes = max(report.peak_bytes, usage.ru_maxrss * 1024)
        return report

    def _comes_from_outside(self, woken: signal.struct_siginfo) -> bool:
        """Whether no process of the script sent this signal: a sender outside of the namespace is told as 0."""
        if woken.si_code != _SENT_BY_KILL:
            return False
        return not woken.si_pid if self.apart else woken.si_pid not in self._list_processes()

    def _reap(self) -> bool:
        """Collect processes that have ended; whether the script is one of them."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == self.child:
                    self.report.status = status
        except ChildProcessError:
            pass
        return self.report.status is not None

    def _find_excess(self) -> str:
        limits, now = self.limits, time.monotonic()
        passed, self.looked = now - self.looked, now
        if now - self.began > limits.wall_seconds:
            return "wall time"
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds, resident, states = used.ru_utime + used.ru_stime, 0, set()
        pids = self._list_processes()
        for pid in pids:
            try:
                fields = read_stat(pid)
                own, waited = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
                self.spent[pid, fields[19]] = own
                seconds += (own + waited) / _TICKS
                resident += int(fields[21]) * _PAGE
                states.add(fields[0])
            except (OSError, ValueError, IndexError):
                pass
        if resident > limits.memory_bytes:
            resident = _measure_memory(pids, resident)
        self.report.peak_bytes = max(self.report.peak_bytes, resident)
        if max(seconds, self._sum_spent()) > limits.cpu_seconds:
            return "CPU time"
        if states <= _ASLEEP:
            self.idle += passed
        if self.idle > limits.idle_seconds:
            return "idle time"
        if resident > limits.memory_bytes:
            return "memory"
        if self._has_printed_too_much():
            return "output"
        return "disk" if self._fills_the_disk(pids) else "exit"

    def _sum_spent(self) -> float:
        """Seconds of the processes that were seen: one whose parent ignores its end leaves its time to nobody."""
        return sum(self.spent.values()) / _TICKS

    def _fills_the_disk(self, pids: list[int]) -> bool:
        limits = self.limits
        octets, entries = self._measure_disk(self.size[1] + limits.folder_entries)
        unlinked = _look_for_unlinked(pids)
        if unlinked is None and self.sees_files:
            return True  # a process has hidden its files since it started, which none does but on purpose
        octets += unlinked or 0
        return octets > self.size[0] + limits.folder_bytes or entries > self.size[1] + limits.folder_entries

    def _measure_disk(self, most: int) -> tuple[int, int]:
        found = [measure_folder(path, most) for path in self.writable]
        return sum(octets for octets, _ in found), sum(entries for _, entries in found)

    def _has_printed_too_much(self) -> bool:
        return any(os.fstat(number).st_size > self.limits.output_bytes for number in self.outputs)

    def _interrupt(self) -> None:
        """As by Ctrl-C: the traceback says where the script was, and libraries write down what they have done."""
        try:
            os.killpg(self.child, signal.SIGINT)
        except OSError:
            pass
        ends = time.monotonic() + GRACE
        while not self._reap() and (left := ends - time.monotonic()) > 0:
            signal.sigtimedwait({signal.SIGCHLD}, left)

    def _list_processes(self) -> list[int]:
        """The script's processes; none where there is no /proc."""
        own = os.getpid()
        return [pid for pid in list_all_processes() if pid != own] if self.apart else list_descendants()


def _look_for_unlinked(pids: list[int]) -> int | None:
    """None where a process does not let itself be looked at."""
    try:
        return measure_unlinked(pids)
    except OSError:
        return None


def _measure_memory(pids: list[int], resident: int) -> int:
    """Octets, where each page that processes share counts once; `resident` counts it once for each of them."""
    try:
        return min(resident, sum(map(measure_share, pids)))
    except OSError:
        return resident


def count_unroutable() -> int | None:
    """What this network namespace could not send for want of a route, IPv4 and IPv6; None without /proc."""
    total = 0
    try:
        with open("/proc/self/net/snmp", encoding="ascii") as file:
            names, values = [line.split()[1:] for line in file if line.startswith("Ip:")]
        total = int(dict(zip(names, values, strict=True))["OutNoRoutes"])
        with open("/proc/self/net/snmp6", encoding="ascii") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("Ip6OutNoRoutes"))
    except (OSError, ValueError, KeyError):
        return total or None
    return total
