"""The process of the embedded teacher: `transformers serve`, tied to the life of its parent.

Run    python -m stages.teacher.server_process FOLDER PORT     (standard input: a pipe from the parent)
"""

import os
import sys
import threading

# 128 blocks of 256 tokens hold 16 requests of 2,048. Without a bound the cache fills most of the machine: 14 of 23 GB
# with the bundled model, 1.7 GB with it; and the first answer waits for that (57 s, not 1 s, with two layers).
CACHE = ["--cb-num-blocks", "128", "--cb-max-batch-tokens", "2048"]


def _exit_with_parent() -> None:
    """The parent never writes: a read that returns means that the pipe closed, so the parent is gone."""
    os.read(0, 1)
    os._exit(0)


def main(folder: str, port: str) -> None:
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    from transformers.cli.transformers import main as transformers

    options = ["--continuous-batching", "--host", "127.0.0.1", "--port", port, "--device", "cpu", *CACHE]
    sys.argv = ["transformers", "serve", folder, *options]
    transformers()


if __name__ == "__main__":
    main(*sys.argv[1:])
