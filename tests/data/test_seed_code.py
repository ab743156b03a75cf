"""The Python in the seed tasks, run against the replay network: it ends well and prints what is true there."""

import ast
import importlib
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from netllama.code_tasks.code_answers import VARIANTS, execute
from netllama.core.params import read_params
from netllama.core.records import SeedTask, load_seeds
from netllama.selfinstruct.candidate_filters import python_blocks
from testbed.network import ensure_network
from tests.data import seed_checks
from tests.data.seed_checks import CHECKS, Ran
from tests.support.clones import ROOT

for module in sorted(Path(seed_checks.__path__[0]).glob("[a-z]*.py")):
    importlib.import_module(f"tests.data.seed_checks.{module.stem}")


SEEDS: dict[str, SeedTask] = {
    seed.id: seed
    for family in read_params(ROOT / "params.yaml").families
    for seed in load_seeds(ROOT / "data" / "seeds", family)
}
CODE = {name: "\n\n".join(blocks) for name, seed in SEEDS.items() if (blocks := python_blocks(seed.output))}
CHECKED = sorted(CODE.keys() & CHECKS.keys())
BROKEN = [name for name in CHECKED if SEEDS[name].form == "fix_code" and not CHECKS[name].fault_unseen]

NUMBER = re.compile(r"(?<![\w.:])\d+(?:\.\d+)?(?![\w.:])")

Ask = Callable[[str, int], Ran]


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory, network: Path) -> dict[int, Path]:
    cache = tmp_path_factory.mktemp("network")
    return {number: network if number == 1 else ensure_network(cache, number) for number in VARIANTS}


def _run(seed: SeedTask, code: str, network: Path, folder: Path) -> Ran:
    run, work = execute(code, seed.scenario, network, folder), folder / "cwd"
    for path in work.rglob("*"):  # the network's files, 5 MB a script
        if path.is_file() and path not in run.files:
            path.unlink()
    return Ran(seed, network, work, run)


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, networks: dict[int, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ask]:
    """`runs(id, network)`: every script that the selected tests need is run once, one a core at a time."""
    folder = tmp_path_factory.mktemp("seeds")
    wanted = {
        item.callspec.params["name"] for item in request.session.items if "runs" in getattr(item, "fixturenames", ())
    }
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    started = {
        (name, number): pool.submit(_run, SEEDS[name], CODE[name], networks[number], folder / f"{name}-{number}")
        for name in CHECKED
        if name in wanted
        for number in VARIANTS
    }
    yield lambda name, number: started[name, number].result()
    pool.shutdown(cancel_futures=True)


def test_every_seed_with_python_has_a_check_and_every_check_a_seed() -> None:
    assert CHECKS.keys() == CODE.keys()


@pytest.mark.parametrize("name", CHECKED)
def test_code_ends_well_misuses_nothing_and_prints_what_is_true(name: str, runs: Ask) -> None:
    for number in VARIANTS:
        ran = runs(name, number)
        assert ran.run.exit_code == 0, ran.run.stderr[-2000:]
        assert ran.run.stderr == ""
        assert ran.run.events("misuse") == []
        assert ran.run.stdout.strip() or ran.run.files
        CHECKS[name].check(ran)


@pytest.mark.parametrize("name", CHECKED)
def test_a_wrong_value_in_what_is_printed_is_noticed(name: str, runs: Ask) -> None:
    """Checks that let everything pass would prove nothing. Changed: the first, middle and last number, or else word."""
    ran = runs(name, 1)
    values = list(NUMBER.finditer(ran.stdout)) or list(re.finditer(r"\w+", ran.stdout))
    for found in {values[0], values[len(values) // 2], values[-1]} if values else ():
        wrong = "other"
        if NUMBER.fullmatch(found[0]):
            digits = len(found[0].partition(".")[2])
            wrong = f"{float(found[0]) + 2 * 10**-digits:.{digits}f}"
        stdout = ran.stdout[: found.start()] + wrong + ran.stdout[found.end() :]
        with pytest.raises((AssertionError, LookupError, ValueError)):
            CHECKS[name].check(replace(ran, run=replace(ran.run, stdout=stdout)))


@pytest.mark.parametrize("name", [name for name in CHECKED if not CHECKS[name].same_everywhere])
def test_what_is_true_of_one_network_is_not_taken_for_true_of_another(name: str, runs: Ask) -> None:
    own, other = runs(name, 1), runs(name, 2)
    with pytest.raises(AssertionError):
        CHECKS[name].check(Ran(own.seed, other.network, own.work, own.run))


@pytest.mark.parametrize("name", [name for name in CHECKED if CHECKS[name].same_everywhere])
def test_code_that_is_said_to_print_the_same_everywhere_does(name: str, runs: Ask) -> None:
    assert runs(name, 1).stdout == runs(name, 2).stdout


@pytest.mark.parametrize("name", BROKEN)
def test_the_fault_in_the_code_to_be_mended_shows(name: str, networks: dict[int, Path], tmp_path: Path) -> None:
    seed = SEEDS[name]
    ast.parse("\n\n".join(python_blocks(seed.input)) or seed.input)  # code, and not prose that fails
    ran = _run(seed, "\n\n".join(python_blocks(seed.input)) or seed.input, networks[1], tmp_path)
    if ran.run.exit_code == 0 and not ran.run.misuses():
        with pytest.raises(AssertionError):
            CHECKS[name].check(ran)
