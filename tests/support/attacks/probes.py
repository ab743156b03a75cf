"""Asks for everything that a script in the sandbox must not have; writes what it got into found.json."""

import ctypes
import fcntl
import json
import os
import pathlib
import resource
import signal
import socket
import struct
import sys

goal = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
INTEL = os.uname().machine == "x86_64"
found = {}

found["descriptors"] = []
for number in range(64):
    try:
        os.fstat(number)
        found["descriptors"].append(number)
    except OSError:
        pass


def probe(attempt):
    """The attempt must raise OSError; what it returns is what it got."""
    try:
        found[attempt.__name__] = f"ESCAPED: {attempt()!r}"
    except (OSError, AttributeError, ValueError) as error:  # ValueError: a limit that may not be raised
        found[attempt.__name__] = f"refused: {error}"


def call(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def syscall(number, *arguments):
    typed = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return call(libc.syscall(ctypes.c_long(number), *typed))


def search(folder, names):
    """Any of the processes' files that hold the secret."""
    for pid in os.listdir(folder):
        for name in names:
            try:
                text = open(f"{folder}/{pid}/{name}", "rb").read()
            except OSError:
                continue
            if goal["secret"][::-1].encode() in text:
                return f"{folder}/{pid}/{name}"
    raise OSError("nothing found")


@probe
def read_file_of_the_repository():
    return open(goal["file"]).read()


@probe
def list_the_repository():
    return os.listdir(os.path.dirname(goal["file"]))


@probe
def read_home():
    return open(goal["home"]).read()


@probe
def list_the_folder_above():
    found = set(os.listdir("..")) - {"cwd", "script", "shims", "startup", "notes", "launcher"}
    if not found:
        raise OSError("nothing but its own")
    return found


@probe
def read_passwords():
    return open("/etc/shadow").read()


@probe
def read_users():
    return open("/etc/passwd").read()


@probe
def read_environment_of_any_process():
    return search("/proc", ["environ", "cmdline"])


@probe
def read_environment_of_the_parent():
    return open(f"/proc/{goal['pid']}/environ").read()


@probe
def list_descriptors_of_the_parent():
    return os.listdir(f"/proc/{goal['pid']}/fd")


@probe
def read_memory_of_the_parent():
    return open(f"/proc/{goal['pid']}/mem", "rb").read(1)


@probe
def read_memory_by_call():
    buffer = ctypes.create_string_buffer(8)
    pair = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    return call(libc.process_vm_readv(goal["pid"], pair, 1, pair, 1, 0))


@probe
def trace_the_parent():
    return call(libc.ptrace(16, goal["pid"], None, None))


@probe
def trace_the_launcher():
    return call(libc.ptrace(16, os.getppid(), None, None))


@probe
def list_the_launchers_descriptors():
    return os.listdir(f"/proc/{os.getppid()}/fd")


@probe
def write_the_launchers_memory():
    return open(f"/proc/{os.getppid()}/mem", "r+b")


@probe
def signal_the_parent():
    return os.kill(goal["pid"], signal.SIGCONT)


@probe
def signal_the_parent_by_descriptor():
    return signal.pidfd_send_signal(os.pidfd_open(goal["pid"]), signal.SIGCONT)


@probe
def slow_the_parent():
    return os.setpriority(os.PRIO_PROCESS, goal["pid"], 19)


@probe
def limit_the_parent():
    return resource.prlimit(goal["pid"], resource.RLIMIT_CPU, (100000, 100000))


@probe
def slow_all_of_the_user():
    return os.setpriority(os.PRIO_USER, 0, 1)


@probe
def limit_the_launcher():
    return resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (100, 100))


@probe
def signal_the_launcher():
    return os.kill(os.getppid(), signal.SIGCONT)


@probe
def signal_the_launcher_by_descriptor():
    return signal.pidfd_send_signal(os.pidfd_open(os.getppid()), signal.SIGCONT)


@probe
def have_the_kernel_signal_the_parent():
    reader, _ = os.pipe()
    return fcntl.fcntl(reader, 8, goal["pid"])  # F_SETOWN


@probe
def make_a_memory_file():
    return os.memfd_create("file")


@probe
def make_a_shared_segment():
    return call(libc.shmget(0, 2**20, 0o1600))


@probe
def read_a_shared_segment():
    libc.shmat.restype = ctypes.c_long
    return ctypes.string_at(call(libc.shmat(goal["segment"], None, 0o10000)))


@probe
def make_a_message_queue():
    return call(libc.msgget(0, 0o1600))


@probe
def read_a_message_queue():
    return call(libc.msgrcv(goal["queue"], ctypes.create_string_buffer(100), 90, 0, 0o4000))


@probe
def make_a_semaphore():
    return call(libc.semget(0, 1, 0o1600))


@probe
def open_a_message_queue():
    return call(ctypes.CDLL("librt.so.1", use_errno=True).mq_open(b"/queue", 0o102, 0o600, None))


@probe
def list_the_sockets_of_the_machine():
    connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4)  # NETLINK_SOCK_DIAG
    connection.send(struct.pack("=IHHIIBBBBI48x", 72, 20, 0x301, 1, 0, socket.AF_INET, 6, 0, 0, 0xFFFFFFFF))
    if struct.pack("!H", goal["tcp"]) not in connection.recv(2**16):
        raise OSError("none but its own")
    return goal["tcp"]


@probe
def connect_by_tcp():
    return socket.create_connection(("127.0.0.1", goal["tcp"]), 1)


@probe
def connect_by_tcp_over_ipv6():
    return socket.create_connection(("::1", goal["tcp6"]), 1)


@probe
def send_by_udp():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", goal["udp"]))


@probe
def send_by_udp_message():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b"x"], [], 0, ("127.0.0.1", goal["udp"]))


@probe
def connect_to_a_unix_socket():
    return socket.socket(socket.AF_UNIX).connect(goal["unix"])


@probe
def connect_to_an_abstract_socket():
    return socket.socket(socket.AF_UNIX).connect("\0" + goal["abstract"])


@probe
def look_up_a_name():
    return socket.getaddrinfo("example.org", 80)


@probe
def open_a_raw_socket():
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW)


@probe
def open_an_icmp_socket():
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)


@probe
def open_a_vsock():
    return socket.socket(40, socket.SOCK_STREAM)


@probe
def open_a_crypto_socket():
    return socket.socket(38, socket.SOCK_SEQPACKET)


@probe
def set_up_io_uring():
    return syscall(425, 8, ctypes.create_string_buffer(256))


@probe
def write_outside():
    return open(goal["outside"] + "/new", "w")


@probe
def make_a_folder_outside():
    return os.mkdir(goal["outside"] + "/folder")


@probe
def move_a_file_out():
    open("mine", "w").close()
    return os.rename("mine", goal["outside"] + "/mine")


@probe
def remove_the_secret():
    return os.remove(goal["file"])


@probe
def truncate_the_secret():
    return os.truncate(goal["file"], 0)


@probe
def read_through_a_symbolic_link():
    os.symlink(goal["file"], "link")
    return open("link").read()


@probe
def write_through_a_symbolic_link():
    os.symlink(goal["outside"], "out")
    return open("out/new", "w")


@probe
def make_a_hard_link():
    return os.link(goal["file"], "hard")


@probe
def read_through_the_root_of_process_1():
    return open(f"/proc/1/root{goal['file']}").read()


@probe
def read_above_the_root():
    return open("../" * 40 + goal["file"].lstrip("/")).read()


@probe
def write_to_the_shims():
    return open(goal["shims"] + "/module.py", "a")


@probe
def add_to_the_shims():
    return open(goal["shims"] + "/new.py", "w")


@probe
def remove_from_the_shims():
    return os.remove(goal["shims"] + "/module.py")


@probe
def write_to_the_startup():
    return open(goal["startup"] + "/sitecustomize.py", "a")


@probe
def write_to_the_script():
    return open(__file__, "a")


@probe
def write_to_the_packages():
    return open(os.path.dirname(os.__file__) + "/new.py", "w")


@probe
def write_to_the_system():
    return open("/usr/new", "w")


@probe
def write_to_the_root():
    return open("/new", "w")


@probe
def write_a_setting_of_the_kernel():
    return open("/proc/sys/kernel/core_pattern", "w")


@probe
def press_a_magic_key():
    return open("/proc/sysrq-trigger", "w")


@probe
def make_a_device():
    return os.mknod("device", 0o20666, os.makedev(1, 1))


@probe
def become_root():
    return os.setuid(0)


@probe
def enter_a_user_namespace():
    return call(libc.unshare(0x10000000))


@probe
def fork_into_a_user_namespace():
    return syscall((56 if INTEL else 220), 0x10000000 | 17, 0, 0, 0, 0)


@probe
def mount_a_file_system():
    return call(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None))


@probe
def change_the_root():
    return os.chroot(".")


@probe
def join_a_namespace():
    return call(libc.setns(os.open("/proc/self/ns/net", os.O_RDONLY), 0))


@probe
def make_a_file_handle():
    buffer = (ctypes.c_uint32 * 40)(128)
    return call(libc.name_to_handle_at(-100, b".", buffer, ctypes.byref(ctypes.c_int()), 0))


@probe
def load_a_bpf_program():
    return syscall((321 if INTEL else 280), 0, ctypes.create_string_buffer(128), 128)


@probe
def watch_the_kernel():
    return syscall((298 if INTEL else 241), ctypes.create_string_buffer(128), 0, -1, -1, 0)


@probe
def read_keys():
    return syscall((250 if INTEL else 219), 6, -3)


@probe
def set_the_clock():
    return call(libc.clock_settime(0, (ctypes.c_long * 2)(1, 0)))


@probe
def type_into_the_terminal():
    return fcntl.ioctl(os.open("/dev/tty", os.O_RDWR), 0x5412, b"x")


@probe
def write_a_terabyte():
    with open("large", "w") as file:
        return file.truncate(2**40)


@probe
def write_more_than_a_file_may_hold():
    with open("large", "wb") as file:
        for _ in range(100):
            file.write(bytes(2**20))


@probe
def take_disk_beyond_the_end_of_a_file():
    with open("sparse", "wb") as file:
        return call(libc.fallocate(file.fileno(), 1, ctypes.c_long(0), ctypes.c_long(2**30)))


@probe
def take_disk_by_another_name():
    with open("sparse", "wb") as file:
        return fcntl.ioctl(file, 0x4030582A, struct.pack("=hh4xqqiI16x", 0, 0, 0, 2**30, 0, 0))


@probe
def raise_a_limit():
    return resource.setrlimit(resource.RLIMIT_FSIZE, (2**40, 2**40))


def quietly(action, *arguments):
    try:
        action(*arguments)
    except OSError:
        pass


quietly(os.remove, "large")
for name in (goal["file"], goal["outside"], goal["shims"] + "/module.py", goal["home"]):
    quietly(os.chmod, name, 0o777)
    quietly(os.utime, name, (1, 1))
    quietly(os.chown, name, os.getuid(), os.getgid())
    quietly(os.setxattr, name, "user.mark", b"x")
found["environment"] = " ".join(f"{k}={v}" for k, v in os.environ.items())
found["privileges"] = libc.prctl(39, 0, 0, 0, 0)
pathlib.Path("found.json").write_text(json.dumps(found))
