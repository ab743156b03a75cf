"""The embedded teacher: a server of the bundled model (server_process.py) on a free loopback port.

The server never outlives the stage: it holds the read end of a pipe from us and exits when that closes,
whatever ended us (return, exception, SIGTERM, SIGKILL).
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from netllama.core.errors import StageError

START_TIMEOUT = 180.0
"""Seconds until the server must be healthy; it takes about 10 on two cores."""


@contextlib.contextmanager
def serve(model: Path, log: Path, timeout: float = START_TIMEOUT) -> Iterator[str]:
    """Serve the model of a folder; yields the base_url once it is healthy, stops it at the end."""
    port = _free_port()
    command = [sys.executable, "-m", "netllama.teacher.server_process", str(model), str(port)]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
    try:
        print(f"embedded teacher: {model.name} starts on 127.0.0.1:{port} (log: {log}) ...", flush=True)
        _wait_until_healthy(process, port, log, timeout)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()
        if process.stdin:
            process.stdin.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_healthy(process: "subprocess.Popen[bytes]", port: int, log: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StageError(f"the embedded teacher ended with exit code {process.returncode}: {_last_lines(log)}")
        if _healthy(port):
            return
        time.sleep(0.2)
    raise StageError(f"the embedded teacher was not healthy after {timeout:.0f} s: {_last_lines(log)}")


def _healthy(port: int) -> bool:
    try:
        # Past any http_proxy of the environment: a proxy can't reach our loopback.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _last_lines(log: Path, count: int = 3) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{' / '.join(lines[-count:]) or 'it printed nothing'} (all of it: {log})"
