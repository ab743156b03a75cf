"""The levels of isolation, strongest first, and what each keeps from a script."""

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from netllama.sandbox.syscalls import NUMBERS
from netllama.sandbox.view import TEMPORARY_BYTES, ViewEntry

NAMESPACES, BUBBLEWRAP, LANDLOCK, NONE = "namespaces", "bubblewrap", "landlock", "none"


@dataclass(frozen=True)
class Level:
    name: str
    """namespaces: a root, processes, network, ... of its own, made by our launcher (Linux 5.12).
    bubblewrap: the same made by `bwrap`, where users may not make namespaces but it may.
    landlock: this machine's own, of which Landlock and seccomp let it use a part (Linux 6.2).
    none: limits only.
    """
    program: str = ""
    """bubblewrap's path"""


_EVERYWHERE = (
    "kept: time, memory, processes, open files, output and disk have limits; all that it starts ends with it; "
    "it gets none of your environment variables"
)
_STATEMENTS = {
    NAMESPACES: (
        "sandbox: namespaces, seccomp, limits",
        "kept from the script: all files but the system's programs, Python's packages and its own folder; every "
        "network; other processes, their memory and environment; privileges",
        "not kept: a fault of the kernel itself; its load on the processor and the disk",
    ),
    LANDLOCK: (
        "sandbox: Landlock, seccomp, limits",
        "kept from the script: the contents of all files but the system's programs, Python's packages and its own "
        "folder; every network; other processes, their memory and environment",
        "not kept: which files exist, with size and time; the machine's interfaces and routes; a fault of the kernel "
        "itself; its load on the processor and the disk. Changes of modes and times do nothing; locks of "
        "multiprocessing do not work",
    ),
    NONE: (
        "no sandbox: the script runs with your rights",
        "not kept: your files, .env of this project included; the network; your other processes and their environment",
    ),
}
_STATEMENTS[BUBBLEWRAP] = ("sandbox: bubblewrap, seccomp, limits", *_STATEMENTS[NAMESPACES][1:])


def list_levels() -> list[Level]:
    """What may work here, strongest first."""
    if not sys.platform.startswith("linux") or platform.machine() not in NUMBERS:
        return []
    # Not for root: its scripts would be root's, and nothing limits how many processes root has.
    program = shutil.which("bwrap") if os.geteuid() else None
    found = [Level(NAMESPACES)]
    return [*found, *([Level(BUBBLEWRAP, program)] if program else []), Level(LANDLOCK)]


def describe_level(level: Level) -> str:
    return "\n  ".join([*_STATEMENTS[level.name], _EVERYWHERE])


def wrap_command(level: Level, entries: Sequence[ViewEntry]) -> list[str]:
    """The command that starts Python on this level; its arguments are to follow."""
    if level.name != BUBBLEWRAP:
        return [sys.executable]
    options = ["--unshare-all", "--die-with-parent", "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL"]
    size = ["--size", str(TEMPORARY_BYTES), "--tmpfs"]
    options += [*size, "/tmp", "--proc", "/proc", "--dev", "/dev", *size, "/dev/shm", "--remount-ro", "/dev"]
    kinds = {"read": "--ro-bind", "write": "--bind", "link": "--symlink"}
    for entry in entries:
        if entry.kind in kinds:
            options += [kinds[entry.kind], entry.host, entry.inside]
    return [level.program, *options, "--remount-ro", "/", "--", sys.executable]
