"""What a script sees of the file system: parts of this machine, read only, and its own files.

A view is a list of entries. In namespaces of its own the script gets a new root that holds them and nothing else
(`build_root`); under Landlock it stays in the machine's tree, and opens only what they name.

This and all that the launcher imports does without pathlib, dataclasses, typing, contextlib and json: they would take
20 ms before every script.
"""

import os

from netllama.sandbox import syscalls

DEEPEST = 50
"""Folders within folders that a script may make: Python's functions give up on 1,000."""
ROOM = "/sandbox"
"""Where the script's own files are in its new root."""
TEMPORARY_BYTES = 2**26
"""Size of /tmp and of /dev/shm, which vanish with the script."""
_PARTS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
_SETTINGS = ("alternatives", "ethertypes", "fonts", "ld.so.cache", "mime.types", "protocols", "services")
"""Of /etc: what libraries look up. No users, no passwords, no hosts."""
_DEVICES = ("null", "full", "random", "urandom")
"""Not zero: mapped, it is memory that no process's size shows (seccomp.py)."""


class ViewEntry:
    """`host` is a path of this machine (the text of a symbolic link), `inside` one of the script's root."""

    def __init__(self, kind: str, host: str, inside: str) -> None:
        self.kind = kind
        """read, write, device or link"""
        self.host, self.inside = host, inside


def list_system_entries(roots: list[str], names: str) -> list[ViewEntry]:
    """The system's programs and libraries, harmless settings, devices, and `roots`: where Python is installed.

    `names`: the file that the script sees as /etc/resolv.conf.
    """
    entries = []
    for part in _PARTS:
        if os.path.islink(part):
            entries.append(ViewEntry("link", os.readlink(part), part))
        elif os.path.isdir(part):
            entries.append(ViewEntry("read", part, part))
    found = [f"/etc/{name}" for name in _SETTINGS] + roots
    entries += [ViewEntry("read", path, path) for path in found if os.path.exists(path)]
    entries.append(ViewEntry("read", names, "/etc/resolv.conf"))
    return entries + [ViewEntry("device", f"/dev/{name}", f"/dev/{name}") for name in _DEVICES]


def build_root(entries: list[ViewEntry], base: str) -> None:
    """Make `base`, an empty folder, the root of this process's mount namespace. Call as its process 1.

    OSError if the machine forbids it. Only the `write` entries, /tmp and /dev/shm can be written.
    """
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    quiet = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("tmpfs", base, "tmpfs", quiet, "size=1m,mode=755")
    for name in ("tmp", "proc", "dev", "dev/shm", "etc"):
        os.mkdir(f"{base}/{name}")
    for name in ("tmp", "dev/shm"):
        syscalls.mount("tmpfs", f"{base}/{name}", "tmpfs", quiet, f"size={TEMPORARY_BYTES},nr_inodes=10000,mode=1777")
    for entry in entries:
        _attach(entry, base)
    # The descriptors, through which programs reopen their own files, and what the C library expects
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(f"/proc/self/{target}", f"{base}/dev/{name}")
    try:
        syscalls.mount("proc", f"{base}/proc", "proc", quiet | syscalls.MS_NOEXEC)
    except OSError:
        pass  # a container that hides parts of its own /proc: the script has none
    os.chdir(base)
    syscalls.pivot_root(".", ".")
    syscalls.unmount(".")
    os.chdir("/")
    syscalls.restrict_mount("/", syscalls.ATTR_READ_ONLY, recursive=False)


def _attach(entry: ViewEntry, base: str) -> None:
    place = base + entry.inside
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if entry.kind == "link":
        os.symlink(entry.host, place)
        return
    if os.path.isdir(entry.host):
        os.makedirs(place, exist_ok=True)
    else:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    syscalls.mount(entry.host, place, None, syscalls.MS_BIND | syscalls.MS_REC)
    attributes = syscalls.ATTR_NOSUID if entry.kind == "device" else syscalls.ATTR_NOSUID | syscalls.ATTR_NODEV
    syscalls.restrict_mount(place, attributes | (syscalls.ATTR_READ_ONLY if entry.kind == "read" else 0))


def hand_over(entries: list[ViewEntry], user: int) -> None:
    """Give the `write` entries, with all that is in them, to `user`; links are not followed."""
    for entry in entries:
        if entry.kind == "write":
            os.chown(entry.host, user, user, follow_symlinks=False)
            for folder, folders, files in os.walk(entry.host):
                for name in folders + files:
                    os.chown(f"{folder}/{name}", user, user, follow_symlinks=False)


def measure_folder(folder: str, most: int) -> tuple[int, int]:
    """(octets on the disk, entries) of `folder`, or of a file, with all that is below it; stops after `most` entries.

    It tells more than `most` where it cannot look: where a folder is locked, or folders in folders in folders are
    DEEPEST, soon too long for a path.
    """
    octets = entries = 0
    try:
        octets = os.lstat(folder).st_blocks * 512
    except OSError:
        pass  # without a sandbox a script can remove it
    waiting = [(folder, 0)]
    while waiting and entries <= most:
        path, depth = waiting.pop()
        if depth > DEEPEST:
            return octets, most + 1
        try:
            with os.scandir(path) as found:
                for each in found:
                    entries += 1
                    octets += each.stat(follow_symlinks=False).st_blocks * 512
                    if each.is_dir(follow_symlinks=False):
                        waiting.append((each.path, depth + 1))
        except PermissionError:
            return octets, most + 1
        except OSError:
            continue  # the script removes folders while we look
    return octets, entries
