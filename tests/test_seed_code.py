"""The Python in the seed tasks, run against the replay network: it ends well and prints what is true there."""

import importlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import seed_checks
from clones import ROOT
from seed_checks import CHECKS, NOW, Ran

from stages.core.params import read_params
from stages.core.records import SeedTask, load_seeds
from stages.network.build import built
from stages.network.running import chosen, furnish, run_script
from stages.selfinstruct.filters import FENCE

for module in sorted(Path(seed_checks.__path__[0]).glob("[a-z]*.py")):
    importlib.import_module(f"seed_checks.{module.stem}")

NETWORKS = (1, 2)
TIMEOUT = 60.0


def python(text: str) -> str:
    """The fenced Python blocks, one after the other; a text without fences that is Python is one itself."""
    return "\n\n".join(code for language, code in FENCE.findall(text) if language == "python")


SEEDS: dict[str, SeedTask] = {
    seed.id: seed
    for family in read_params(ROOT / "params.yaml").generate.families
    for seed in load_seeds(ROOT / "data" / "seeds", family)
}
CODE = {name: code for name, seed in SEEDS.items() if (code := python(seed.output))}
CHECKED = sorted(CODE.keys() & CHECKS.keys())
BROKEN = [name for name in CHECKED if SEEDS[name].form == "fix_code" and not CHECKS[name].fault_unseen]

Ask = Callable[[str, int], Ran]


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory, network: Path) -> dict[int, Path]:
    return {1: network, 2: built(tmp_path_factory.mktemp("network"), 2)}


def _run(seed: SeedTask, code: str, network: Path, folder: Path) -> Ran:
    work = folder / "cwd"
    work.mkdir(parents=True)
    furnish(work, network, *chosen(seed.scenario))
    script = folder / "script.py"
    script.write_text(code, encoding="utf-8")
    run = run_script(script, work, folder / "state", TIMEOUT, now=NOW)
    for path in work.rglob("*"):  # the network's files, 5 MB a script
        if path.is_file() and path not in run.files:
            path.unlink()
    return Ran(seed, network, work, run)


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, networks: dict[int, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], Ran]:
    """`runs(id, network)`: every script that the selected tests need is run once, one a core at a time."""
    folder = tmp_path_factory.mktemp("seeds")
    wanted = {item.callspec.params["name"] for item in request.session.items if "runs" in getattr(item, "fixturenames", ())}
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    request.addfinalizer(lambda: pool.shutdown(cancel_futures=True))
    started: dict[tuple[str, int], Future[Ran]] = {
        (name, number): pool.submit(_run, SEEDS[name], code, networks[number], folder / f"{name}-{number}")
        for name, code in CODE.items()
        if name in wanted
        for number in NETWORKS
    }
    return lambda name, number: started[name, number].result()


def test_every_seed_with_python_has_a_check_and_every_check_a_seed() -> None:
    assert CHECKS.keys() == CODE.keys()


@pytest.mark.parametrize("name", CHECKED)
def test_code_ends_well_misuses_nothing_and_prints_what_is_true(name: str, runs: Ask) -> None:
    for number in NETWORKS:
        ran = runs(name, number)
        assert ran.run.exit_code == 0, ran.run.stderr[-2000:]
        assert ran.run.stderr == ""
        assert ran.run.misuses() == []
        assert ran.run.stdout.strip() or ran.run.files
        CHECKS[name].check(ran)


@pytest.mark.parametrize("name", [name for name in CHECKED if not CHECKS[name].same_everywhere])
def test_what_is_true_of_one_network_is_not_taken_for_true_of_another(name: str, runs: Ask) -> None:
    own, other = runs(name, 1), runs(name, 2)
    with pytest.raises(AssertionError):
        CHECKS[name].check(Ran(own.seed, other.network, own.work, own.run))


@pytest.mark.parametrize("name", [name for name in CHECKED if CHECKS[name].same_everywhere])
def test_code_that_reads_nothing_of_the_network_prints_the_same_on_another(name: str, runs: Ask) -> None:
    assert runs(name, 1).stdout == runs(name, 2).stdout


@pytest.mark.parametrize("name", BROKEN)
def test_the_fault_in_the_code_to_be_mended_shows(name: str, networks: dict[int, Path], tmp_path: Path) -> None:
    seed = SEEDS[name]
    ran = _run(seed, python(seed.input) or seed.input, networks[1], tmp_path)
    if ran.run.exit_code == 0 and not ran.run.misuses():
        with pytest.raises(AssertionError):
            CHECKS[name].check(ran)
