"""Models, networks and working copies that the tests share, and how they are spread over the cores."""

import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

from netllama.core.tokenized_rows import TokenizedRow
from tests.support.clones import ROOT, make_clone
from tests.support.shipped_data import write_shipped
from tests.support.workers import deal, share_cores, shared_folder, worker_count

share_cores()
# A shell starts what it puts into the background with interrupts ignored, and so would be what the tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# A busy machine is no failure: no test has a limit of time but pytest's own. A test that says no number of examples
# draws 40; `pytest --hypothesis-profile=thorough` draws 400.
settings.register_profile("quick", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=400)
settings.load_profile("quick")


def pytest_xdist_auto_num_workers() -> int:
    return worker_count()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items[:] = deal(items, config.workerinput["workercount"])


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """`networks(seed)`: the replay network of a seed with routing/, captures/, measurements/. Nobody writes into it."""
    from testbed.network import ensure_network

    folder = shared_folder(tmp_path_factory)

    def network(seed: int) -> Path:
        return ensure_network(folder / "network", seed)

    return network


@pytest.fixture(scope="session")
def network(networks: Callable[[int], Path]) -> Path:
    """The replay network of seed 1."""
    return networks(1)


@pytest.fixture(scope="session")
def sandbox() -> Any:
    """The strongest sandbox of this machine."""
    from netllama.sandbox.sandbox_choice import find_sandbox

    return find_sandbox()


@pytest.fixture(scope="session")
def warm() -> Iterator[Any]:
    """Runs scripts of the project's own in the sandbox's place, in a tenth of its time."""
    from tests.support.warm_interpreter import open_warm_interpreter

    with open_warm_interpreter() as interpreter:
        yield interpreter


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """A byte-level BPE of 600 tokens with a chat template; its end-of-sequence token is <|end|>."""
    from tests.support.tiny_models import make_tokenizer

    return make_tokenizer()


@pytest.fixture(scope="session")
def tiny_model_folder(tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama (2 layers, hidden size 64) with its tokenizer, as a local model folder."""
    from tests.support.tiny_models import write_model

    folder = tmp_path_factory.mktemp("tiny") / "model"
    write_model(folder, tiny_tokenizer)
    return folder


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one, with params.yaml and the data that are shipped; no DVC in it."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    write_shipped(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for name in ("OPENAI_API_KEY", "HF_TOKEN", "hf_token", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def set_params(workdir: Path) -> Callable[..., None]:
    """`set_params(**{"train.max_steps": 2})` changes params.yaml of the workdir."""

    def change(**changes: Any) -> None:
        path = workdir / "params.yaml"
        params = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
        for key, value in changes.items():
            section, _, name = key.partition(".")
            (params[section] if name else params)[name or section] = value
        path.write_text(yaml.dump(params, Dumper=yaml.CSafeDumper), encoding="utf-8")

    return change


@pytest.fixture
def tiny_base(workdir: Path, set_params: Callable[..., None], tiny_model_folder: Path, tiny_tokenizer: Any) -> Path:
    """The workdir as `fetch` leaves it: the tiny model in tiny/, models/base.json, models/tokenizer/; fp32."""
    from netllama.core.files import write_json
    from netllama.models.model_reference import resolve_model

    shutil.copytree(tiny_model_folder, workdir / "tiny")
    set_params(**{"model.id": "tiny", "model.revision": "", "loading.precision": "fp32"})
    write_json(workdir / "models" / "base.json", resolve_model("tiny", "").reference.model_dump())
    tiny_tokenizer.save_pretrained(workdir / "models" / "tokenizer")
    return workdir


@pytest.fixture
def one_thread() -> Iterator[None]:
    """A tiny model's operators are too small to share: on a busy machine two threads take ten times as long as one."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def own_accelerator() -> None:
    """accelerate keeps one device and mixed precision a process; here each test has its own."""
    if state := sys.modules.get("accelerate.state"):
        state.AcceleratorState._reset_state()


@pytest.fixture(scope="session")
def tokenized_rows(tiny_tokenizer: Any) -> Callable[..., list[TokenizedRow]]:
    """`tokenized_rows(8)`: rows of unequal length, with random ids before the last one (EOS)."""

    def rows(number: int, seed: int = 0) -> list[TokenizedRow]:
        draw = random.Random(seed)
        made = []
        for index in range(number):
            length = draw.randint(8, 40)
            start = draw.randint(2, length - 2)
            ids = [draw.randrange(2, len(tiny_tokenizer)) for _ in range(length - 1)] + [tiny_tokenizer.eos_token_id]
            family = ("bgp_knowledge", "packet_analysis")[index % 2]
            source = "generated" if index % 3 else "seed"
            made.append(TokenizedRow(f"row-{seed}-{index}", family, source, ids, start, start))
        return made

    return rows


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return make_clone(tmp_path / "clone")


@pytest.fixture(scope="session")
def warm_dvc() -> Iterator[Path]:
    """A folder with a `dvc` that has its imports behind it."""
    from tests.support.warm_programs import DVC_LIBRARIES, open_warm_program

    with open_warm_program("dvc", DVC_LIBRARIES) as folder:
        yield folder


@pytest.fixture(scope="session")
def small_run(tiny_model_folder: Path, warm_dvc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the whole DAG ran at small numbers, once for all workers. Copy it: nobody writes into it."""
    from netllama.core.locks import hold_lock
    from tests.support.small_runs import run_tiny
    from tests.support.warm_programs import STAGE_LIBRARIES, open_warm_program

    place = shared_folder(tmp_path_factory) / "small_run"
    with hold_lock(place.with_suffix(".lock"), "runs the DAG at small numbers"):
        if not place.exists():
            with open_warm_program("python", STAGE_LIBRARIES) as warm_python:
                clone = run_tiny(
                    tmp_path_factory.mktemp("small_run") / "clone", tiny_model_folder, warm_dvc, warm_python
                )
            place.write_text(str(clone.folder), encoding="utf-8")
    return Path(place.read_text(encoding="utf-8"))
