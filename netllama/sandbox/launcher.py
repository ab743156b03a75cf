"""Isolates itself, starts a script, watches it, and reports how it ended.

It runs as a process of its own, started by sandbox.py with `-I -S`, and imports nothing slow: it starts before every
script. Or it is forked from a process that has imported what scripts import (warm_server.py). The exchange file, whose
descriptor it is given, holds the plan at first and the report in the end.
"""

import marshal
import os
import resource
import signal
import sys
from collections.abc import Callable

from netllama.sandbox import landlock, seccomp, syscalls, view
from netllama.sandbox.exchange import LaunchPlan, LaunchReport, Limits
from netllama.sandbox.processes import count_threads, end_processes
from netllama.sandbox.supervisor import ScriptWatch, count_unroutable

INSIDE_USER = 1000
NOBODY, NOBODIES = 65534, 1_900_000_000
"""Root's scripts do not run as root, whom RLIMIT_NPROC does not bind and whom the system's files belong to, but each as
a user of its own, NOBODIES + its launcher's process; as NOBODY where a container has no such users.
"""
WATCHED = {signal.SIGCHLD, signal.SIGTERM}
BOOT = "import sys; sys.path.insert(0, {root!r}); from netllama.sandbox.launcher import main; main({exchange})"


Start = Callable[[LaunchPlan], Callable[[], object]]
"""Prepares the isolated process and returns what runs the script in it."""


def replace_process(plan: LaunchPlan) -> Callable[[], object]:
    """Become a new Python that runs the script."""
    os.execve(plan.command[0], plan.command, plan.environment)


def main(exchange: int, start: Start = replace_process) -> None:
    """`exchange`: the descriptor of the exchange file. What a script raises that runs in this Python passes through."""
    os.set_inheritable(exchange, False)
    told = marshal.loads(os.pread(exchange, 2**24, 0))
    told["entries"] = [view.ViewEntry(*entry) for entry in told["entries"]]
    told["limits"] = Limits(**told["limits"])
    plan = LaunchPlan(**told)
    try:
        report = _launch(plan, start)
    except (OSError, AttributeError) as error:  # AttributeError: a C library without this call
        report = LaunchReport(problem=str(error))
    if report is not None:
        os.ftruncate(exchange, 0)
        os.pwrite(exchange, marshal.dumps(vars(report)), 0)


def _launch(plan: LaunchPlan, start: Start) -> LaunchReport | None:
    """The report; None where a child writes it."""
    level = plan.level
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    if level == "bubblewrap":
        return _start_and_watch(plan, start)
    if level != "namespaces":
        return _launch_beside_others(plan, start)
    flags = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC
    flags |= syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWCGROUP
    if os.geteuid():
        _enter_user_namespace(flags)
    else:
        syscalls.unshare(flags)
    _end_with_parent(plan.parent)
    first = os.fork()
    if first:
        _wait(first)
        return None
    # From here on process 1 of the namespace: when it ends, the kernel kills all others in it.
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if not os.geteuid():
        _choose_user(plan)
    view.build_root(plan.entries, plan.base)
    return _start_and_watch(plan, start)


def _launch_beside_others(plan: LaunchPlan, start: Start) -> LaunchReport | None:
    """As process 1 does in namespaces: whichever of the two processes is killed, the other one ends the script."""
    _adopt_orphans(plan.parent)
    own = os.getpid()
    watch = os.fork()
    if watch:
        _wait(watch)
        end_processes(apart=False)
        return None
    _adopt_orphans(own)
    return _start_and_watch(plan, start)


def _adopt_orphans(parent: int) -> None:
    try:
        _end_with_parent(parent)
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    except (AttributeError, OSError):
        pass  # not Linux


def _enter_user_namespace(flags: int = 0) -> None:
    """A user namespace (and others) in which this user is INSIDE_USER and nobody else exists."""
    user, group = os.geteuid(), os.getegid()
    syscalls.unshare(syscalls.CLONE_NEWUSER | flags)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{INSIDE_USER} {user} 1"),
        ("gid_map", f"{INSIDE_USER} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _end_with_parent(parent: int) -> None:
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it has ended before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def _wait(first: int) -> None:
    """Wait for process 1; pass SIGTERM on to it."""
    while True:
        if signal.sigwaitinfo(WATCHED).si_signo == signal.SIGTERM:
            os.kill(first, signal.SIGTERM)
        elif os.waitpid(first, os.WNOHANG)[0]:
            return


def _start_and_watch(plan: LaunchPlan, start: Start) -> LaunchReport:
    level = plan.level
    apart = level in ("namespaces", "bubblewrap")
    if level == "landlock" and not os.geteuid():
        _choose_user(plan)
    before = count_unroutable() if apart else None
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        _become_script(plan, tell, start)
    os.close(tell)
    # In bubblewrap the script has this process's user: it may neither read its memory nor open its descriptors.
    try:
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    except AttributeError:
        pass
    with os.fdopen(told, encoding="utf-8") as pipe:
        problem = pipe.read()
    if problem:
        os.waitpid(child, 0)
        return LaunchReport(problem=problem)
    writable = [entry.inside if apart else entry.host for entry in plan.entries if entry.kind == "write"]
    report = ScriptWatch(child, plan.limits, writable, level).run()
    after = count_unroutable() if apart else None
    report.unroutable = None if after is None or before is None else after - before
    return report


def _become_script(plan: LaunchPlan, tell: int, start: Start) -> None:
    try:
        os.setsid()
        _isolate(plan)
        if plan.level == "landlock":  # should both launchers be killed at once
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.chdir(plan.folder)
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        run = start(plan)
    except BaseException as error:
        os.write(tell, (str(error) or repr(error)).encode())
        os._exit(127)
    run()


def _isolate(plan: LaunchPlan) -> None:
    level, limits = plan.level, plan.limits
    others = 0
    if level == "namespaces" and not os.geteuid():
        _become_nobody(plan.user)
        _enter_user_namespace()
    elif level == "landlock":
        if not os.geteuid():
            _become_nobody(plan.user)
        others = count_threads(os.geteuid())
    elif level == "none":
        others = count_threads(os.geteuid())
    if level == "namespaces" and tuple(map(int, os.uname().release.split(".")[:2])) < (5, 14):
        others = count_threads(os.geteuid())  # before 5.14 a user's processes are counted over all namespaces
    _limit_resources(limits, others)
    if level == "none":
        return
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if level == "namespaces":
        syscalls.drop_capabilities()  # as execve does, which a warm start does without
    scoped = False
    if level == "landlock":
        readable = [entry.host for entry in plan.entries if entry.kind == "read"]
        landlock.restrict_files(readable, [entry.host for entry in plan.entries if entry.kind in ("write", "device")])
        scoped = landlock.find_abi() >= landlock.SIGNALS_ABI
    seccomp.install_filter(level != "landlock", os.getpid(), os.getppid(), scoped)


def _choose_user(plan: LaunchPlan) -> None:
    """Choose whom root's script runs as, and give it its files."""
    for plan.user in (NOBODIES + os.getpid(), NOBODY):
        try:
            return view.hand_over(plan.entries, plan.user)
        except OSError:
            if plan.user == NOBODY:
                raise


def _become_nobody(user: int) -> None:
    """From root to `user`, who may still read what only root can: Python may be installed there."""
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    syscalls.keep_reading()
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # or /proc/self would belong to root


def _limit_resources(limits: Limits, others: int) -> None:
    cpu = int(limits.cpu_seconds) + 5  # the watch is earlier; this is for what it does not see
    for name, most in (
        ("RLIMIT_AS", limits.memory_bytes),
        ("RLIMIT_CPU", cpu),
        ("RLIMIT_FSIZE", limits.file_bytes),
        ("RLIMIT_NOFILE", limits.open_files),
        ("RLIMIT_NPROC", limits.processes + others),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_MEMLOCK", 2**16),
        ("RLIMIT_MSGQUEUE", 0),
    ):
        number = getattr(resource, name, None)
        if number is not None:
            hard = resource.getrlimit(number)[1]
            least = most if hard == resource.RLIM_INFINITY else min(most, hard)
            try:
                resource.setrlimit(number, (least, least))
            except (OSError, ValueError):
                if sys.platform == "linux":  # macOS knows some of them and sets none
                    raise
