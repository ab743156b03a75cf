"""A sandbox for many scripts: each starts from a process that has imported the libraries which scripts import.

    with WarmSandbox(find_sandbox().level, ("pandas",)) as sandbox:
        run = sandbox.run(ScriptJob(script=..., folder=..., state=...))

A script is isolated in the same way and by the same code as in `Sandbox`, and does the same; what it saves is the start
of Python and the imports, a second of processor time. Where only bubblewrap works, it runs as in `Sandbox`.
"""

import os
import queue
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO

from netllama.sandbox.exchange import LaunchPlan
from netllama.sandbox.levels import BUBBLEWRAP
from netllama.sandbox.sandbox import FIXED, LATE, PROJECT, Sandbox, list_libraries, stop_process, write_plan
from netllama.sandbox.warm_server import BOOT, DONE, JOB


class _WarmServer:
    """A process of warm_server.py. It ends when this process does, however that ends."""

    def __init__(self, libraries: tuple[str, ...]) -> None:
        self.connection, theirs = socket.socketpair()
        with theirs:
            boot = BOOT.format(root=str(PROJECT), channel=theirs.fileno(), libraries=list(libraries))
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-s", "-c", boot],
                env=FIXED
                | list_libraries()
                | {"HOME": "/nonexistent", "MPLBACKEND": "Agg", "PATH": os.defpath, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def launch(self, descriptors: list[int], seconds: float) -> bool:
        """Whether the launcher ended within `seconds`. OSError where the server itself has ended before."""
        self.connection.settimeout(None)
        socket.send_fds(self.connection, [JOB], descriptors)
        self.connection.settimeout(seconds)
        try:
            return self.connection.recv(1) == DONE
        except TimeoutError:
            return False

    def stop(self) -> None:
        self.connection.close()  # which ends it, and a script with it
        try:
            self.process.wait(LATE)
        except subprocess.TimeoutExpired:
            stop_process(self.process)


@dataclass(frozen=True)
class WarmSandbox(Sandbox):
    """Thread-safe: each script that runs at the same time has a server of its own."""

    libraries: tuple[str, ...] = ()
    """Modules that servers import; one that is not installed is left out."""
    _idle: "queue.SimpleQueue[_WarmServer]" = field(default_factory=queue.SimpleQueue, repr=False, compare=False)

    def __enter__(self) -> "WarmSandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the servers that wait. More scripts start new ones."""
        while not self._idle.empty():
            self._idle.get().stop()

    def _launch(self, plan: LaunchPlan, exchange: BinaryIO, outputs: tuple[BinaryIO, BinaryIO] | None) -> None:
        if self.level.name == BUBBLEWRAP or outputs is None:
            return super()._launch(plan, exchange, outputs)
        server = self._take()
        ended = False
        try:
            plan.parent = server.process.pid
            write_plan(plan, exchange)
            descriptors = [exchange.fileno(), *(file.fileno() for file in outputs)]
            ended = server.launch(descriptors, plan.limits.wall_seconds + LATE)
        finally:
            if ended:
                self._idle.put(server)
            else:
                server.stop()

    def _take(self) -> _WarmServer:
        try:
            while (server := self._idle.get_nowait()).process.poll() is not None:
                server.stop()
            return server
        except queue.Empty:
            return _WarmServer(self.libraries)
