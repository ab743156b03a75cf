"""The embedded teacher: a server of the bundled model (server_process.py) on a loopback port.

A socket connects us with the server's standard input. The server reports its port on it when it is ready, and exits
when the socket closes, that is when this process ends (return, exception, SIGTERM, SIGKILL).
"""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from netllama.core.errors import StageError

START_TIMEOUT = 180.0
"""Seconds until the server must be ready; it takes about 10 on two cores."""


@contextlib.contextmanager
def serve_model(model: Path, log: Path, timeout: float = START_TIMEOUT) -> Iterator[str]:
    """Serve the model in a folder; yields the base_url once the server is ready, and stops the server at the end."""
    log.unlink(missing_ok=True)  # another run may be writing its log there; it keeps its open file
    ours, its = socket.socketpair()
    with ours, open(log, "a+b") as output:
        with its:
            process = subprocess.Popen(
                [sys.executable, "-m", "netllama.teacher.server_process", str(model)],
                stdin=its.fileno(),
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"HF_HUB_OFFLINE": "1"},
            )
        try:
            print(f"embedded teacher: {model.name} starts (log: {log}) ...", flush=True)
            ours.settimeout(timeout)
            try:
                port = ours.recv(16)
            except TimeoutError:
                raise StageError(
                    f"the embedded teacher was not ready after {timeout:.0f} s: {_quote_end(output)}"
                ) from None
            if not port:
                raise StageError(f"the embedded teacher ended with exit code {process.wait()}: {_quote_end(output)}")
            yield f"http://127.0.0.1:{int(port)}/v1"
        finally:
            process.kill()
            process.wait()


def _quote_end(log: BinaryIO, count: int = 3) -> str:
    """The last lines of the log, and where to read all of it."""
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return f"{' / '.join(lines[-count:]) or 'it printed nothing'} (all of it: {log.name})"
