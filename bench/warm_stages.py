"""Stages of a clone in processes forked from one that has imported their libraries: most of a small stage is imports.

So a kill at a random moment meets the stage at its work, and a run of a damaged file takes a second.
"""

import contextlib
import os
import runpy
import sys
from collections.abc import Iterator, Mapping
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.support.clones import Clone

LIBRARIES = [
    "torch",
    "transformers",
    "transformers.models.llama.modeling_llama",
    "peft",
    "bitsandbytes",
    "accelerate",
    "safetensors.torch",
    "pyarrow.parquet",
    "scipy.stats",
    "scapy.all",
    "pandas",
    "openai",
    "httpx",
    "ruamel.yaml",
    "jinja2",
    "lxml.html",
    "tqdm",
    "filelock",
]
OURS = ("bench", "commands", "netllama", "stages", "testbed", "tests")
"""A child takes none of these from here, but from the clone."""
FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(LIBRARIES)


def start_stage(clone: Clone, stage: str, said: Path = Path(os.devnull)) -> BaseProcess:
    """`python -m stages.STAGE` in the clone; what it prints goes to the file `said`."""
    process = FORKS.Process(target=become_stage, args=(str(clone.folder), stage, dict(clone.environment), str(said)))
    with without_main():
        process.start()
    return process


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Let a new process not import the script that runs here, and all that it imports."""
    main = sys.modules["__main__"]
    spec, file = main.__spec__, main.__dict__.pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__spec__ = spec
        if file:
            main.__file__ = file


def become_stage(folder: str, stage: str, environment: Mapping[str, str], said: str) -> None:
    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(out, stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    sys.path[:] = [folder, *(entry for entry in sys.path if entry not in ("", str(Path(__file__).parents[1])))]
    sys.argv[:] = [f"{folder}/stages/{stage}.py"]
    runpy.run_module(f"stages.{stage}", run_name="__main__", alter_sys=True)
