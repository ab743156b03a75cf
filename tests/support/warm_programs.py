"""`python` and `dvc` whose processes are forked from one that has imported their libraries.

    with open_warm_program("python", STAGE_LIBRARIES) as folder:
        subprocess.run(["dvc", "repro"], env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"})

Each of a pipeline's ten stages takes seconds to import torch and transformers, and with the tiny model less for its
work. Modules of the project are read by each process anew, from the folder that it is started in. What a kill does to
it, and to whom it belongs, is not that of a process of its own: a test of that starts the real program.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from tests.support.forked_ends import end_fork

ROOT = Path(__file__).parents[2]
STAGE_LIBRARIES = (
    *("torch", "transformers", "transformers.models.llama.modeling_llama", "transformers.integrations.sdpa_attention"),
    *("accelerate", "bitsandbytes", "huggingface_hub", "numpy", "openai", "pandas", "peft", "pyarrow.parquet"),
    *("pydantic", "rapidfuzz.process", "safetensors.torch", "scipy.stats", "tokenizers"),
)
DVC_LIBRARIES = (
    *("dvc.cli.parser", "dvc.repo", "dvc.repo.reproduce", "dvc.repo.experiments", "dvc.cachemgr", "dvc.data_cloud"),
    *("dvc_data.index", "dvc_render.vega", "dvc_render.plotly", "networkx", "pygit2", "ruamel.yaml"),
)
STREAMS = (0, 1, 2)
CLIENT = """
    #!{python} -IS
    import json, os, signal, socket, sys
    link = socket.socket(socket.AF_UNIX)
    link.connect({address!r})
    words = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(link, [len(words).to_bytes(8, "big")], [0, 1, 2])
    link.sendall(words)
    told = link.makefile()
    pid = int(told.readline())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os.kill(pid, number))
    code = int(told.readline())
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
"""
"""The program in the folder: it hands on its arguments, streams and signals, and ends as the forked process ends."""


@contextlib.contextmanager
def open_warm_program(name: str, libraries: Sequence[str]) -> Iterator[Path]:
    """A folder for PATH with the program `name`: `python` (with -m) or `dvc`. It is there until the block ends."""
    with tempfile.TemporaryDirectory(prefix=f"warm-{name}-") as place:
        folder, address = Path(place), f"{place}/socket"
        command = [sys.executable, "-m", "tests.support.warm_programs", address, *libraries]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout
                assert server.stdout.readline() == b"ready\n"
                program = folder / name
                text = textwrap.dedent(CLIENT).lstrip().format(python=sys.executable, address=address)
                program.write_text(text, encoding="utf-8")
                program.chmod(0o755)
                yield folder
            finally:
                server.kill()


def serve(address: str) -> None:
    """Fork for each that connects to `address`, until standard input ends: that is when the tests have ended."""
    gc.freeze()  # so that no child copies these libraries' pages to collect garbage
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        link, _ = listener.accept()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not os.fork():
            listener.close()
            answer(link)
        link.close()


def answer(link: socket.socket) -> NoReturn:
    """Start what is asked for, tell its number, and how it ended."""
    size, streams, _, _ = socket.recv_fds(link, 8, len(STREAMS))
    words = b""
    while len(words) < int.from_bytes(size, "big"):
        words += link.recv(1 << 20)
    if not (child := os.fork()):
        link.close()
        for stream, given in zip(STREAMS, streams, strict=True):
            os.dup2(given, stream)
            os.close(given)
        try:
            become_program(*json.loads(words))
        except SystemExit as ended:
            end_fork(ended.code)
        end_fork(0)
    link.sendall(f"{child}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    link.sendall(f"{code}\n".encode())
    os._exit(0)


def become_program(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    path, *words = arguments
    sys.path[:0] = [folder, *environment.get("PYTHONPATH", "").split(os.pathsep)][: 1 + ("PYTHONPATH" in environment)]
    if Path(path).name == "dvc":
        from dvc.cli import main

        sys.argv = [path, *words]
        sys.exit(main())
    assert words[0] == "-m", words
    sys.argv = words[1:]
    runpy.run_module(words[1], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    del sys.path[0]  # ROOT: a program has the modules of its own folder
    for library in sys.argv[2:]:
        importlib.import_module(library)
    serve(sys.argv[1])
