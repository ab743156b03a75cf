"""pytest-xdist: how many workers a run gets, which tests each starts with."""

import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from netllama.core.cores import count_cores

Made = TypeVar("Made")
MOST = 8
"""More workers than this gain little, and each of them takes up to 2 GB with torch loaded."""
SLOW_FIRST = (
    "contracts/test_pipeline.py",
    "data/test_seed_code.py",
    "contracts/test_team.py",
    "stages/test_train.py",
    "data/test_code_questions.py",
    "stages/test_tokenize.py",
    "netllama/teacher/test_embedded.py",
    "netllama/sandbox/test_attacks.py",
    "stages/test_foreign_data.py",
    "netllama/training/test_loop.py",
    "stages/test_split.py",
    "stages/test_generate_faults.py",
    "stages/test_generate.py",
    "commands/test_replay.py",
    "stages/test_fetch.py",
    "stages/test_evaluate.py",
)
"""Modules with long tests, the longest first: a worker that met one of them last would keep the others waiting."""


def worker_count() -> int:
    """One worker per core that this process may use (affinity and container quota included), at most MOST."""
    return min(count_cores(), MOST)


def share_cores() -> None:
    """Give this worker, and the processes that its tests start, their share of the cores. Call before importing torch.

    Two workers with two threads each on two cores take four times as long as with one: OpenMP's threads wait busily.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        os.environ["OMP_NUM_THREADS"] = str(max(1, count_cores() // workers))
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def deal(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """The items in the order that hands every worker its share of the slow modules first.

    xdist cuts the list into as many runs of equal length as there are workers, and moves tests from the end of one
    worker's run to a worker that has nothing left.
    """
    slow: dict[str, list[pytest.Item]] = {module: [] for module in SLOW_FIRST}
    others: list[pytest.Item] = []
    for item in items:
        module = item.nodeid.partition("::")[0].removeprefix("tests/")
        slow.get(module, others).append(item)
    modules = list(slow.values())
    dealt = []
    for worker in range(workers):
        own = [item for module in modules[worker::workers] for item in module]
        end = len(items) * (worker + 1) // workers if worker < workers - 1 else len(items)
        fill = max(0, end - len(dealt) - len(own))
        dealt += own + others[:fill]
        others = others[fill:]
    return dealt + others


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder of this run that all its workers share."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[], Made]) -> Made:
    """What `make` returns, made by one worker of this run; the others read it. `name` is no other's."""
    from netllama.core.locks import hold_lock

    place = shared_folder(factory) / f"{name}.pickle"
    with hold_lock(place.with_suffix(".lock"), f"makes {name}"):
        if not place.exists():
            place.write_bytes(pickle.dumps(make()))
    made: Made = pickle.loads(place.read_bytes())
    return made
