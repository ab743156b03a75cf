"""Forks launchers of scripts from a process that has imported the libraries which most scripts import.

warm_sandbox.py starts it, and sends for each script three descriptors over a socket: the exchange file, stdout, stderr.
The server runs no script itself: it forks, and its child is a launcher like any other (launcher.py), which isolates
the script's process. That process does not become a new Python, but goes on in this one.
"""

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from netllama.sandbox import launcher, syscalls
from netllama.sandbox.exchange import LaunchPlan

BOOT = (
    "import sys; sys.path.insert(0, {root!r}); from netllama.sandbox.warm_server import serve; "
    "sys.path.remove({root!r}); serve({channel}, {libraries!r})"
)
JOB, DONE = b"j", b"d"
"""Words of the socket: a script is to be run, and it has ended. The end of the socket ends the server."""


def serve(channel: int, libraries: list[str]) -> None:
    """`channel`: the descriptor of the socket."""
    for library in libraries:
        with contextlib.suppress(ImportError):  # a script that needs it finds out
            importlib.import_module(library)
    gc.collect()
    gc.freeze()  # so that no child copies these libraries' pages to collect garbage
    with socket.socket(fileno=channel) as connection:
        while True:
            word, descriptors, *_ = socket.recv_fds(connection, 1, 3)
            if not word:
                return
            child = os.fork()
            if not child:
                connection.close()
                _become_launcher(*descriptors)
            for each in descriptors:
                os.close(each)
            if not _await_end(child, connection):
                return
            connection.sendall(DONE)


def _become_launcher(exchange: int, stdout: int, stderr: int) -> None:
    for given, number in ((stdout, 1), (stderr, 2)):
        os.dup2(given, number)
        os.close(given)
    launcher.main(exchange, prepare_process)  # in the script's process it does not return
    os._exit(0)


def _await_end(child: int, connection: socket.socket) -> bool:
    """Whether the launcher ended; if this server is not needed any more, its launcher ends the script."""
    ended = os.pidfd_open(child)
    with select.epoll() as waiting:
        waiting.register(ended, select.EPOLLIN)
        waiting.register(connection, select.EPOLLIN)
        known = {number for number, _ in waiting.poll()}
    needed = connection.fileno() not in known
    if not needed:
        os.kill(child, signal.SIGTERM)
    os.close(ended)
    os.waitpid(child, 0)
    return needed


def prepare_process(plan: LaunchPlan) -> Callable[[], object]:
    """Make this process look like a new Python that starts the script; returns what runs it."""
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(plan.environment)
    time.tzset()
    for name in [name for name in sys.modules if name.partition(".")[0] == "netllama"]:
        del sys.modules[name]
    if tempfile := sys.modules.get("tempfile"):
        tempfile.tempdir = None  # type: ignore[attr-defined]
    _, script, *arguments = plan.command
    importable = plan.environment["PYTHONPATH"].split(os.pathsep)
    sys.path[:0] = [str(Path(script).parent), *importable]
    sys.argv[:] = [script, *arguments]
    sys.orig_argv[:] = plan.command

    def run() -> None:
        os.closerange(3, 2**16)
        _run_as_main(f"{importable[0]}/sitecustomize.py", "sitecustomize")
        _run_as_main(script, "__main__")
        raise SystemExit(0)

    return run


def _run_as_main(path: str, name: str) -> None:
    """What it raises ends this process as it ends Python."""
    module = ModuleType(name)
    module.__dict__.update(__file__=path, __builtins__=__builtins__)
    sys.modules[name] = module
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec", dont_inherit=True)
        exec(code, module.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        # Without the frame of this file
        trace = error.__traceback__ and error.__traceback__.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        raise SystemExit(1) from None
