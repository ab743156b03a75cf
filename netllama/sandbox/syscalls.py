"""Linux's system calls that Python has no function for, through ctypes; a failure is an OSError that names the call."""

import ctypes
import os

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2
ATTR_READ_ONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
PR_SET_KEEPCAPS, PR_CAP_AMBIENT = 8, 47
PR_SET_DUMPABLE = 4
_CAPABILITY_VERSION, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 0x20080522, 1, 2

NUMBERS = {"x86_64": {"pivot_root": 155, "capset": 126}, "aarch64": {"pivot_root": 41, "capset": 91}}
"""Newer calls have the same number on every machine: mount_setattr 442, landlock_* 444 to 446."""
_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000


_libc = ctypes.CDLL(None, use_errno=True)


def require_success(result: int, name: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def call(name: str, number: int, *arguments: object) -> int:
    """Make the system call `number`; its arguments are int, bytes or ctypes pointers."""
    typed = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return require_success(_libc.syscall(ctypes.c_long(number), *typed), name)


def unshare(flags: int) -> None:
    require_success(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    source_, target_, kind_, options_ = encoded
    result = _libc.mount(source_, target_, kind_, ctypes.c_ulong(flags), options_)
    require_success(result, f"mount of {kind or source}")


def restrict_mount(target: str, attributes: int, recursive: bool = True) -> None:
    """Add attributes (ATTR_*) to a mount and, with `recursive`, to all below it. Linux 5.12."""
    values = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    call("mount_setattr", _MOUNT_SETATTR, _AT_FDCWD, os.fsencode(target), flags, ctypes.byref(values), 32)


def pivot_root(new: str, old: str) -> None:
    call("pivot_root", NUMBERS[os.uname().machine]["pivot_root"], os.fsencode(new), os.fsencode(old))


def unmount(target: str) -> None:
    require_success(_libc.umount2(os.fsencode(target), MNT_DETACH), "umount2")


def prctl(option: int, first: object = 0, second: object = 0) -> None:
    """Call prctl; its arguments are int or ctypes pointers."""
    typed = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in (first, second)]
    require_success(_libc.prctl(option, *typed, ctypes.c_ulong(0), ctypes.c_ulong(0)), f"prctl {option}")


def drop_capabilities() -> None:
    """All of them, in the user namespace of this process."""
    header, data = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    call("capset", NUMBERS[os.uname().machine]["capset"], ctypes.byref(header), ctypes.byref(data))


def keep_reading() -> None:
    """Keep one capability through execve: to read what other users own, as root could. Without it, keep none."""
    number = NUMBERS[os.uname().machine]["capset"]
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    for kept in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE, None):  # a container often has the second only
        bits = 0 if kept is None else 1 << kept
        data = (ctypes.c_uint32 * 6)(bits, bits, bits, 0, 0, 0)
        try:
            call("capset", number, ctypes.byref(header), ctypes.byref(data))
        except PermissionError:
            continue
        if kept is not None:
            prctl(PR_CAP_AMBIENT, 2, kept)  # PR_CAP_AMBIENT_RAISE
        return
