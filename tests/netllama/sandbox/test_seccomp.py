"""The filter of system calls, run by an interpreter of classic BPF: so for processors of other kinds, too."""

import errno
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.sandbox.seccomp import (
    ATTRIBUTES,
    FALLOCATE,
    ON_A_CLASS,
    ON_A_PROCESS,
    REFUSED,
    SIGNALS,
    Instruction,
    build_filter,
)

PID, WATCH = 4711, 17
ALLOWED = "allowed"
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
programs = {(name, apart): build_filter(name, apart, PID, WATCH, False) for name in MACHINES for apart in (True, False)}


def interpret(program: list[Instruction], architecture: int, number: int, *arguments: int) -> str:
    """Linux's Documentation/networking/filter.rst: the instructions that seccomp allows, as far as they are used."""
    padded = [argument & 0xFFFFFFFFFFFFFFFF for argument in (*arguments, 0, 0, 0, 0, 0, 0)][:6]
    data = struct.pack("<iIQ6Q", number, architecture, 0, *padded)
    at, accumulator = 0, 0
    while True:
        code, yes, no, operand = program[at]
        at += 1
        assert 0 <= yes < 256
        assert 0 <= no < 256
        if code == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            (accumulator,) = struct.unpack_from("<I", data, operand)
        elif code == 0x06:  # BPF_RET | BPF_K
            kinds = {0x7FFF0000: ALLOWED, 0x80000000: "killed", 0x00050000: "error"}
            kind = kinds[operand & 0xFFFF0000]
            return f"error {operand & 0xFFFF}" if kind == "error" else kind
        else:
            passed = {
                0x15: accumulator == operand,
                0x35: accumulator >= operand,
                0x45: bool(accumulator & operand),
            }[code]
            at += yes if passed else no


def ask(machine: str, apart: bool, number: int, *arguments: int) -> str:
    return interpret(programs[machine, apart], MACHINES[machine][0], number, *arguments)


OTHERS = {"socket": (41, 198), "clone": (56, 220), "clone3": (435, 435), "ioctl": (16, 29), "fcntl": (72, 25)}
OTHERS |= {"fallocate": FALLOCATE, "mmap": (9, 222)}


def list_known(machine: str) -> set[int]:
    column = MACHINES[machine][1]
    tables = (OTHERS, REFUSED, SIGNALS, ON_A_PROCESS, ON_A_CLASS, ATTRIBUTES)
    return {pair[column] for table in tables for pair in table.values() if pair[column] is not None}


@pytest.mark.parametrize("machine", MACHINES)
@settings(max_examples=300, derandomize=True)
@given(number=st.integers(0, 600), apart=st.booleans(), argument=st.integers(0, 2**64 - 1))
def test_what_no_table_names_is_allowed_and_what_is_younger_than_them_is_unknown(
    machine: str, number: int, apart: bool, argument: int
) -> None:
    if number not in list_known(machine):
        wanted = ALLOWED if number < 470 else f"error {errno.ENOSYS}"
        assert ask(machine, apart, number, argument, argument) == wanted


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("apart", [True, False])
def test_what_is_refused_is_refused_with_every_argument(machine: str, apart: bool) -> None:
    column = MACHINES[machine][1]
    for name, pair in REFUSED.items():
        number = pair[column]
        if number is not None and number >= 0:
            assert {ask(machine, apart, number, value) for value in (0, 1, PID, 2**64 - 1)} == {"error 1"}, name


@pytest.mark.parametrize("machine", MACHINES)
@settings(max_examples=200, derandomize=True)
@given(
    pid=st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, PID, -PID, -1, WATCH]), high=st.integers(0, 2**32 - 1)
)
def test_a_script_acts_on_itself_and_in_namespaces_on_all_but_its_watch(machine: str, pid: int, high: int) -> None:
    column = MACHINES[machine][1]
    argument = high << 32 | pid & 0xFFFFFFFF  # the kernel looks at the low half only
    wanted = {
        False: ALLOWED if pid in (0, PID, -PID) else "error 1",
        True: "error 1" if pid in (-1, WATCH) else ALLOWED,
    }
    for apart, answer in wanted.items():
        for pair in (SIGNALS | ON_A_PROCESS).values():
            assert ask(machine, apart, pair[column] or 0, argument, 9) == answer
        for pair in ON_A_CLASS.values():
            assert ask(machine, apart, pair[column] or 0, 1, argument) == answer


@pytest.mark.parametrize("machine", MACHINES)
def test_where_landlock_keeps_signals_in_the_filter_lets_them_pass(machine: str) -> None:
    column, program = MACHINES[machine][1], build_filter(machine, False, PID, WATCH, True)
    for pair in SIGNALS.values():
        assert interpret(program, MACHINES[machine][0], pair[column] or 0, PID + 1, 15) == ALLOWED
    for pair in ON_A_PROCESS.values():
        assert interpret(program, MACHINES[machine][0], pair[column] or 0, PID + 1) == "error 1"


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("apart", [True, False])
def test_no_script_changes_the_priority_of_all_processes_of_a_user(machine: str, apart: bool) -> None:
    for name, user in (("setpriority", 2), ("ioprio_set", 3)):
        number = ON_A_CLASS[name][MACHINES[machine][1]] or 0
        assert [ask(machine, apart, number, which, 0) for which in (user - 1, user)] == [ALLOWED, "error 1"]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("apart", [True, False])
def test_no_script_takes_disk_beyond_the_end_of_a_file_or_has_the_kernel_send_signals(
    machine: str, apart: bool
) -> None:
    column = MACHINES[machine][1]
    assert ask(machine, apart, FALLOCATE[column], 1, 1, 0, 2**40) == f"error {errno.EOPNOTSUPP}"
    for name, command in (("ioctl", 0x40305828), ("ioctl", 0x4030582A), ("ioctl", 0x8901), ("fcntl", 8), ("fcntl", 15)):
        assert ask(machine, apart, OTHERS[name][column], 1, command) == "error 1"
    assert ask(machine, apart, OTHERS["fcntl"][column], 1, 1, 2) == ALLOWED


@pytest.mark.parametrize("machine", MACHINES)
@settings(max_examples=200, derandomize=True)
@given(family=st.integers(0, 50), high=st.integers(0, 2**32 - 1))
def test_sockets_are_those_of_the_network_that_the_script_has(machine: str, family: int, high: int) -> None:
    number = OTHERS["socket"][MACHINES[machine][1]]
    argument = high << 32 | family
    assert (ask(machine, True, number, argument) == ALLOWED) == (family in (1, 2, 10, 16, 17))
    assert (ask(machine, False, number, argument) == ALLOWED) == (family == 16)
    assert ask(machine, False, number, 16, 3, 4) == f"error {errno.EACCES}"  # NETLINK_SOCK_DIAG


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("apart", [True, False])
def test_only_memory_that_is_shared_without_a_file_is_refused(machine: str, apart: bool) -> None:
    number = OTHERS["mmap"][MACHINES[machine][1]]
    shared, checked, private, anonymous, stack = 1, 3, 2, 0x20, 0x20000
    for flags in (shared, checked, private, private | anonymous, private | anonymous | stack):
        assert ask(machine, apart, number, 0, 4096, 3, flags) == ALLOWED
    for flags in (shared | anonymous, checked | anonymous, shared | anonymous | stack):
        assert ask(machine, apart, number, 0, 4096, 3, flags) == "error 1"


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("apart", [True, False])
def test_processes_and_threads_may_be_made_but_no_namespaces(machine: str, apart: bool) -> None:
    number = OTHERS["clone"][MACHINES[machine][1]]
    thread, fork, vfork = 0x3D0F00, 0x01200011, 0x4111
    assert [ask(machine, apart, number, flags) for flags in (thread, fork, vfork)] == [ALLOWED] * 3
    spaces = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x00000080)
    for flag in spaces:
        assert ask(machine, apart, number, flag | 17) == "error 1"
    assert ask(machine, apart, 435, 0) == f"error {errno.ENOSYS}"


def test_foreign_calls_end_the_script() -> None:
    assert interpret(programs["x86_64", True], 0x40000003, 102) == "killed"  # i386's socketcall
    assert ask("x86_64", True, 0x40000000 | 41, 2) == "error 1"  # x32's socket


@pytest.mark.parametrize("machine", MACHINES)
def test_changes_of_attributes_do_nothing_without_namespaces(machine: str) -> None:
    for pair in ATTRIBUTES.values():
        number = pair[MACHINES[machine][1]]
        if number is not None and number >= 0:
            assert ask(machine, False, number) == "error 0"
            assert ask(machine, True, number) == ALLOWED
