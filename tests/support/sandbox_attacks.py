"""Scripts that try to get out of the sandbox, and what they try to reach.

Run    python -m tests.support.sandbox_attacks LEVEL PROGRAM FOLDER [NAME...]    (prints what became of each, as JSON)

Only the standard library and the sandbox: so it also runs as another user, with another Python.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from netllama.sandbox.exchange import Limits
from netllama.sandbox.levels import Level
from netllama.sandbox.sandbox import STARTUP, Mount, Sandbox, ScriptJob
from tests.support.processes import is_running

SECRET = "sk-secret-of-the-parent"

ATTACKS = Path(__file__).parent / "attacks"
HEAVY = sorted(path.stem for path in ATTACKS.glob("*.py") if path.stem != "probes")
"""Scripts that take too much of something, or leave something behind."""
LIMITS = {
    "wall_seconds": 90.0,  # on a busy machine ten seconds of processor time take a minute
    "cpu_seconds": 10.0,
    "memory_bytes": 2**30,
    "processes": 80,
    "folder_bytes": 2**26,
    "folder_entries": 2000,
    "output_bytes": 2**22,
    "file_bytes": 2**24,
}
CROWDS = ("fork_bomb", "memory_of_many", "polite_fork_bomb", "threads")
LESS = {
    "sleep": {"wall_seconds": 1.0},
    "fork_bomb": {"cpu_seconds": 1.0, "wall_seconds": 15.0},
    "endless_loop": {"cpu_seconds": 1.0},
    "endless_loops": {"cpu_seconds": 1.0},
    "unwaited_loops": {"cpu_seconds": 1.0},
}


@dataclass(frozen=True)
class Ended:
    """What became of one heavy script."""

    ended: str
    exit_code: int | None
    seconds: float
    stdout: str
    left: bool
    """Whether a process of it still runs."""
    entries: int
    """In its folder, afterwards; -1 where the folder could not be removed."""


@dataclass(frozen=True)
class AttackOutcome:
    probes: dict[str, str]
    descriptors: list[int]
    network: list[str]
    touched: list[str]
    """What outside was reached or changed."""
    heavy: dict[str, Ended]


@contextlib.contextmanager
def open_targets(folder: Path, goal: dict[str, object], touched: list[str]) -> Iterator[None]:
    """Listeners, files and a parent that attacks aim at; `touched` notes what they reached."""

    def listen(kind: int, family: int, address: object, name: str) -> socket.socket:
        made = socket.socket(family, kind)
        made.bind(address)  # type: ignore[arg-type]
        made.settimeout(0.1)
        if kind == socket.SOCK_STREAM:
            made.listen()

        def wait() -> None:
            while not closing.is_set():
                try:
                    made.accept() if kind == socket.SOCK_STREAM else made.recv(1)
                    touched.append(name)
                except TimeoutError:
                    continue

        threads.append(threading.Thread(target=wait))
        return made

    closing, threads = threading.Event(), list[threading.Thread]()
    with contextlib.ExitStack() as stack:
        stream, packets = socket.SOCK_STREAM, socket.SOCK_DGRAM
        tcp = stack.enter_context(listen(stream, socket.AF_INET, ("127.0.0.1", 0), "tcp"))
        udp = stack.enter_context(listen(packets, socket.AF_INET, ("127.0.0.1", 0), "udp"))
        goal |= {"tcp": tcp.getsockname()[1], "udp": udp.getsockname()[1], "tcp6": 9}
        with contextlib.suppress(OSError):  # a machine without IPv6
            tcp6 = stack.enter_context(listen(stream, socket.AF_INET6, ("::1", 0), "tcp6"))
            goal["tcp6"] = tcp6.getsockname()[1]
        stack.enter_context(listen(stream, socket.AF_UNIX, str(folder / "socket"), "unix"))
        stack.enter_context(listen(stream, socket.AF_UNIX, f"\0{folder}", "abstract"))
        goal |= {"unix": str(folder / "socket"), "abstract": str(folder)}
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            closing.set()
            for thread in threads:
                thread.join()


@contextlib.contextmanager
def leave_messages(goal: dict[str, object]) -> Iterator[None]:
    """A segment of shared memory and a queue that hold the secret, of this user."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    segment, queue = libc.shmget(0, 4096, 0o1600), libc.msgget(0, 0o1600)
    try:
        ctypes.memmove(libc.shmat(segment, None, 0), SECRET.encode(), len(SECRET))
        libc.msgsnd(queue, ctypes.create_string_buffer(b"\1" + bytes(7) + SECRET.encode()), len(SECRET), 0)
        goal |= {"segment": segment, "queue": queue}
        yield
    finally:
        libc.shmctl(segment, 0, None)
        libc.msgctl(queue, 0, None)


def describe_file(path: Path) -> tuple[object, ...]:
    stat = path.lstat()
    attributes = os.listxattr(path) if hasattr(os, "listxattr") else []
    return (
        stat.st_mode,
        stat.st_uid,
        stat.st_mtime_ns,
        stat.st_nlink,
        attributes,
        path.is_file() and path.read_bytes(),
    )


def attack(level: Level, folder: Path, names: Sequence[str]) -> AttackOutcome:
    """Run the probes and the heavy scripts of these names on one level."""
    os.environ["OPENAI_API_KEY"] = SECRET
    outside, shims = folder / "outside", folder / "shims"
    for each in (outside, shims):
        each.mkdir(parents=True)
    (shims / "module.py").write_text("x = 1\n")
    (outside / "file").write_text(SECRET)
    (folder / "home").write_text(SECRET)
    touched: list[str] = []
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGCONT, lambda *_: touched.append("signal"))
    sandbox = Sandbox(level)
    mount = Mount("shims", shims)
    goal: dict[str, object] = {
        "secret": SECRET[::-1],
        "file": str(outside / "file"),
        "home": str(folder / "home"),
        "outside": str(outside),
        "pid": os.getpid(),
        "shims": sandbox.locate(mount),
        "startup": sandbox.locate(Mount("startup", STARTUP)),
    }
    watched = [outside / "file", outside, shims, shims / "module.py", folder / "home"]
    before = [describe_file(path) for path in watched]

    def run(name: str, argument: str, limits: Limits) -> tuple[Path, Ended, tuple[str, ...]]:
        place = folder / name
        (place / "cwd").mkdir(parents=True)
        job = ScriptJob(ATTACKS / f"{name}.py", place / "cwd", place, (argument,), importable=(mount,), limits=limits)
        done = sandbox.run(job)
        entries = sum(1 for _ in (place / "cwd").rglob("*"))
        text = done.stdout[-200:] + done.stderr[-500:]
        ended = Ended(done.ended, done.exit_code, done.seconds, text, is_running(f"{place}"), entries)
        return place, ended, done.network

    with open_targets(folder, goal, touched), leave_messages(goal):
        place, ended, network = run("probes", json.dumps(goal), Limits(file_bytes=2**24))
        found = place / "cwd" / "found.json"
        probes = json.loads(found.read_text()) if found.is_file() else {"all": f"no result: {ended}"}
    touched += [str(path) for path, old in zip(watched, before, strict=True) if describe_file(path) != old]

    def run_heavy(name: str) -> Ended:
        limits = Limits(**LIMITS | LESS.get(name, {}))  # type: ignore[arg-type]
        place, ended, _ = run(name, str(folder / name), limits)
        try:
            shutil.rmtree(place)
        except OSError:
            return Ended(**asdict(ended) | {"entries": -1})
        return ended

    # Without namespaces all processes of a user share its limit
    heavy = {name: run_heavy(name) for name in names if name in CROWDS}
    with ThreadPoolExecutor(2) as pool:
        others = [name for name in names if name not in CROWDS]
        heavy |= zip(others, pool.map(run_heavy, others), strict=True)
    descriptors = probes.pop("descriptors", [])
    return AttackOutcome(probes, descriptors, list(network), touched, heavy)  # type: ignore[arg-type]


if __name__ == "__main__":
    name, program, folder, *names = sys.argv[1:]
    print(json.dumps(asdict(attack(Level(name, program), Path(folder), names or HEAVY))))
