"""Landlock: this process and its children open only the files below given paths (Linux 6.2, landlock(7))."""

import ctypes
import os
import struct

from netllama.sandbox.syscalls import call

LEAST_ABI = 3
"""The first that covers truncation: before it, a script could empty files that it may not write."""
SIGNALS_ABI = 6
"""The first that keeps signals to the processes that are restricted together."""
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL_DEVICE = 1 << 14, 1 << 15
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE


def find_abi() -> int:
    """The version of the kernel's Landlock; OSError if it has none."""
    return call("landlock_create_ruleset", _CREATE_RULESET, 0, 0, 1)


def restrict_files(readable: list[str], writable: list[str]) -> None:
    """From now on: read and execute below `readable`, everything below `writable`, nothing elsewhere.

    Also no TCP (from ABI 4), no abstract Unix sockets and no signals to processes outside (from ABI 6).
    """
    abi = find_abi()
    handled = (1 << 15) - 1 | (_IOCTL_DEVICE if abi >= 5 else 0)
    attributes = struct.pack("=QQQ", handled, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    attributes = attributes[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = call("landlock_create_ruleset", _CREATE_RULESET, attributes, len(attributes), 0)
    for paths, rights in ((readable, _EXECUTE | _READ_FILE | _READ_DIR), (writable, handled)):
        for path in paths:
            if not os.path.exists(path):
                continue
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = rights & handled if os.path.isdir(path) else rights & handled & _ON_FILES
            rule = struct.pack("=Qi", allowed, place)
            call("landlock_add_rule", _ADD_RULE, ruleset, 1, ctypes.create_string_buffer(rule, len(rule)), 0)
            os.close(place)
    call("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
