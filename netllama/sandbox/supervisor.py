"""Watches a running script: its time, memory, processes and disk; ends it with all that it started.

It runs in the launcher, as process 1 of the script's namespace or as the one to which orphans are handed.
"""

import os
import resource
import signal
import time

from netllama.sandbox.exchange import LaunchReport, Limits
from netllama.sandbox.view import measure_folder

POLL = 0.05
"""Seconds between two looks at memory, CPU time and disk."""
GRACE = 2.0
"""Seconds between the interrupt at the end of a script's time and its end."""
_ASLEEP = {"S", "T", "t", "Z"}
"""States of processes that wait for something else than the processor or the disk (proc_pid_stat(5))."""
_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


class ScriptWatch:
    """One run of a script, seen from the process that started it."""

    def __init__(self, child: int, limits: Limits, folder: str, apart: bool) -> None:
        self.child, self.limits, self.folder, self.apart = child, limits, folder, apart
        self.report = LaunchReport()
        self.began = self.looked = time.monotonic()
        self.idle = 0.0
        self.size = measure_folder(folder, 10**7)
        self.outputs = [number for number in (1, 2) if not os.isatty(number)]

    def run(self) -> LaunchReport:
        """Wait for the script's end, or end it. SIGCHLD and SIGTERM must be blocked."""
        report = self.report
        while report.status is None and report.ended == "exit":
            woken = signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM}, POLL)
            if woken is not None and woken.si_signo == signal.SIGTERM:
                report.ended = "stopped"
            elif not self._reap():
                report.ended = self._find_excess()
        if report.ended in ("wall time", "CPU time", "idle time"):
            self._interrupt()
        self._kill_all()
        # It may have ended by itself between two looks: of the largest file that it may write, for instance.
        if report.ended == "exit" and self._has_printed_too_much():
            report.ended = "output"
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        report.cpu_seconds = round(usage.ru_utime + usage.ru_stime, 3)
        report.peak_bytes = max(report.peak_bytes, usage.ru_maxrss * 1024)
        return report

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
        for pid in self._list_processes():
            try:
                fields = _read_stat(pid)
                seconds += sum(map(int, fields[11:15])) / _TICKS
                resident += int(fields[21]) * _PAGE
                states.add(fields[0])
            except (OSError, ValueError, IndexError):
                pass
        self.report.peak_bytes = max(self.report.peak_bytes, resident)
        if seconds > limits.cpu_seconds:
            return "CPU time"
        if states <= _ASLEEP:
            self.idle += passed
        if self.idle > limits.idle_seconds:
            return "idle time"
        if resident > limits.memory_bytes:
            return "memory"
        if self._has_printed_too_much():
            return "output"
        octets, entries = measure_folder(self.folder, self.size[1] + limits.folder_entries)
        if octets > self.size[0] + limits.folder_bytes or entries > self.size[1] + limits.folder_entries:
            return "disk"
        return "exit"

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

    def _kill_all(self) -> None:
        """Kill what the script has left, until there is nothing: what is killed starts nothing more."""
        while True:
            for pid in [-1] if self.apart else self._list_processes():
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            try:
                pid, status = os.waitpid(-1, 0 if self.apart else os.WNOHANG)
            except ChildProcessError:
                return
            if pid == self.child:
                self.report.status = status
            if pid == 0:
                time.sleep(0.002)

    def _list_processes(self) -> list[int]:
        """The script's processes; none where there is no /proc."""
        found = list_all_processes()
        own = os.getpid()
        if self.apart:
            return [pid for pid in found if pid != own]
        parents = {}
        for pid in found:
            try:
                parents[pid] = int(_read_stat(pid)[1])
            except (OSError, ValueError, IndexError):
                pass
        descendants, before = {own}, 0
        while len(descendants) > before:
            before = len(descendants)
            descendants |= {pid for pid, parent in parents.items() if parent in descendants}
        return sorted(descendants - {own})


def list_all_processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def count_threads(user: int) -> int:
    """Threads of all processes of a user, which RLIMIT_NPROC counts."""
    count = 0
    for pid in list_all_processes():
        try:
            if os.stat(f"/proc/{pid}").st_uid == user:
                count += int(_read_stat(pid)[17])
        except (OSError, ValueError, IndexError):
            pass
    return count


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


def _read_stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: after the name, which may hold anything."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()
