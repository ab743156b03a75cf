"""A seccomp filter: the system calls that a script may not make (seccomp(2)).

What is refused is refused with an error, never with a signal: a script that asks can handle the answer.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from netllama.sandbox.syscalls import PR_SET_SECCOMP, prctl

# (x86_64, aarch64); None where the machine lacks the call
REFUSED: dict[str, tuple[int | None, int]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "pidfd_send_signal": (424, 424),
    # memory that no process's size shows, and that outlives the script where its user's is the machine's
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    # another view of the machine
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # the kernel itself; io_uring makes other calls without asking this filter
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, -1),
    "ioperm": (173, -1),
}
SIGNALS: dict[str, tuple[int | None, int]] = {
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
}
ON_A_PROCESS: dict[str, tuple[int | None, int]] = {
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "prlimit64": (302, 261),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
}
"""What changes the process that the first argument names; 0 is the caller."""
ON_A_CLASS: dict[str, tuple[int | None, int]] = {"setpriority": (141, 140), "ioprio_set": (251, 30)}
"""The same for the second argument; the first says whether it names a process, a group or a user."""
_USER = {"setpriority": 2, "ioprio_set": 3}
FALLOCATE = (285, 47)
"""Takes disk beyond a file's end, where no limit of its size binds; the C library then writes zeros instead."""
ATTRIBUTES: dict[str, tuple[int | None, int]] = {
    "chmod": (90, -1),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, -1),
    "fchown": (93, 55),
    "lchown": (94, -1),
    "fchownat": (260, 54),
    "utime": (132, -1),
    "utimes": (235, -1),
    "futimesat": (261, -1),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
"""What changes a file without opening it, and so passes Landlock by."""
_SOCKET, _CLONE, _CLONE3, _IOCTL, _FCNTL = (41, 198), (56, 220), (435, 435), (16, 29), (72, 25)
_MMAP, _MAP_SHARED, _MAP_ANONYMOUS = (9, 222), 1, 0x20
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _AF_PACKET = 1, 2, 10, 16, 17
_NETLINK_ROUTE = 0
_NAMESPACES = 0x7E020000 | 0x80  # CLONE_NEW* of clone
_IOCTLS = (0x5412, 0x541C, 0x40086602, 0x401C5820, 0x40305828, 0x4030582A, 0x40305839, 0x8901, 0x8902)
"""TIOCSTI and TIOCLINUX type into the terminal; FS_IOC_SETFLAGS and FS_IOC_FSSETXATTR change files; FS_IOC_RESVSP,
FS_IOC_RESVSP64 and FS_IOC_ZERO_RANGE are fallocate; FIOSETOWN and SIOCSPGRP are F_SETOWN."""
_FCNTLS = (8, 15)
"""F_SETOWN and F_SETOWN_EX, with F_SETSIG, have the kernel send any signal to any process of the user."""
_NEWEST = 470
"""Calls from this number on are younger than this table."""

_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARGUMENTS = 0, 4, 16
Instruction = tuple[int, int, int, int]
"""(code, jump if true, jump if false, operand) of classic BPF."""
Demand = tuple[int, int, Sequence[int], bool]
"""(offset of the argument, code of the test, operands, whether the argument must pass one of the tests or none)."""


def build_filter(machine: str, apart: bool, pid: int, watch: int, scoped: bool) -> list[Instruction]:
    """The program for `machine`.

    `apart`: the script is in namespaces of its own, where it acts on every process but `watch`, which watches it. If it
    is not, its only sockets are those of socketpair and NETLINK_ROUTE, it acts on process `pid` (itself) and its own
    group only, and what would change a file's mode, owner, times or attributes does nothing. `scoped`: Landlock sees to
    it that it sends signals to its own processes only.
    """
    column = 0 if machine == "x86_64" else 1

    def refuse(table: dict[str, tuple[int | None, int]], error: int) -> list[Instruction]:
        numbers = [pair[column] for pair in table.values()]
        return [
            each
            for number in numbers
            if number is not None and number >= 0
            for each in ((_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERROR | error))
        ]

    def examine(number: int | None, *demands: Demand, error: int = errno.EPERM) -> list[Instruction]:
        """Refuse the call unless its 32-bit arguments meet all demands."""
        body: list[Instruction] = []
        for offset, code, operands, listed in demands:
            body.append((_LOAD, 0, 0, _ARGUMENTS + offset))
            for left, operand in zip(reversed(range(len(operands))), operands, strict=True):
                body.append((code, left + listed, 0 if left or listed else 1, operand))
            body.append((_RETURN, 0, 0, _ERROR | error))
        body.append((_RETURN, 0, 0, _ALLOW))
        return [(_EQUAL, 0, len(body), number or 0), *body]

    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NR),
    ]
    if machine == "x86_64":  # the x32 calls: the same kernel functions under other numbers
        program += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _ERROR | errno.EPERM)]
    program += [(_AT_LEAST, 0, 1, _NEWEST), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    program += refuse(REFUSED, errno.EPERM)
    program += [(_EQUAL, 0, 1, _CLONE3[column]), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]  # glibc falls back to clone
    program += refuse({"fallocate": FALLOCATE}, errno.EOPNOTSUPP)
    program += examine(_CLONE[column], (0, _ANY_BIT, [_NAMESPACES], False))
    program += examine(_IOCTL[column], (8, _EQUAL, _IOCTLS, False))
    program += examine(_FCNTL[column], (8, _EQUAL, _FCNTLS, False))
    # Memory that processes share without a file stays when all but a page of it is unmapped, out of every count.
    program += [
        (_EQUAL, 0, 5, _MMAP[column]),
        (_LOAD, 0, 0, _ARGUMENTS + 24),
        (_ANY_BIT, 0, 2, _MAP_ANONYMOUS),
        (_ANY_BIT, 0, 1, _MAP_SHARED),
        (_RETURN, 0, 0, _ERROR | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    if apart:
        sockets: list[Demand] = [(0, _EQUAL, [_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _AF_PACKET], True)]
        targets, listed = [watch, -1 & 0xFFFFFFFF], False
    else:
        # Only what names the machine's interfaces: Scapy asks at import, and fails without an answer.
        sockets = [(0, _EQUAL, [_AF_NETLINK], True), (16, _EQUAL, [_NETLINK_ROUTE], True)]
        targets, listed = [0, pid, -pid & 0xFFFFFFFF], True
        program += refuse(ATTRIBUTES, 0)
    program += examine(_SOCKET[column], *sockets, error=errno.EACCES)
    for pair in (ON_A_PROCESS if scoped else SIGNALS | ON_A_PROCESS).values():
        program += examine(pair[column], (0, _EQUAL, targets, listed))
    for name, pair in ON_A_CLASS.items():
        program += examine(pair[column], (0, _EQUAL, [_USER[name]], False), (8, _EQUAL, targets, listed))
    return [*program, (_RETURN, 0, 0, _ALLOW)]


def install_filter(apart: bool, pid: int, watch: int, scoped: bool) -> None:
    """Restrict this process and its children from now on. It must have set PR_SET_NO_NEW_PRIVS."""
    program = build_filter(os.uname().machine, apart, pid, watch, scoped)
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    prctl(PR_SET_SECCOMP, 2, ctypes.byref(Program(len(program), ctypes.addressof(code))))
