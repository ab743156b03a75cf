"""The Python in the seed tasks, run against the replay network: it ends well and prints what is true there.

That it does the same in the sandbox, test_in_sandbox.py shows by samples.
"""

import ast
import importlib
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from netllama.code_tasks.code_answers import VARIANTS, run_code
from netllama.core.markdown import extract_python_blocks
from netllama.core.records import SeedTask
from netllama.sandbox.sandbox import Sandbox
from tests.data import seed_checks
from tests.data.seed_checks import CHECKS, Ran
from tests.support.shipped_data import load_shipped_seeds

for module in sorted(Path(seed_checks.__path__[0]).glob("[a-z]*.py")):
    importlib.import_module(f"tests.data.seed_checks.{module.stem}")


SEEDS: dict[str, SeedTask] = {seed.id: seed for family in load_shipped_seeds().values() for seed in family}
CODE = {name: "\n\n".join(blocks) for name, seed in SEEDS.items() if (blocks := extract_python_blocks(seed.output))}
CHECKED = sorted(CODE.keys() & CHECKS.keys())
BROKEN = [name for name in CHECKED if SEEDS[name].form == "fix_code" and not CHECKS[name].fault_unseen]

NUMBER = re.compile(r"(?<![\w.:])\d+(?:\.\d+)?(?![\w.:])")

Runs = Callable[[int], Ran]
each = pytest.mark.parametrize("runs", CHECKED, indirect=True)


def _run(seed: SeedTask, code: str, network: Path, folder: Path, sandbox: Sandbox) -> Ran:
    run, work = run_code(code, seed.scenario, network, folder, sandbox), folder / "cwd"
    for path in work.rglob("*"):  # the network's files, 5 MB a script
        if path.is_file() and path not in run.files:
            path.unlink()
    return Ran(seed, network, work, run)


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest,
    networks: Callable[[int], Path],
    warm: Sandbox,
    tmp_path_factory: pytest.TempPathFactory,
) -> Runs:
    """`runs(network)`: the script of one seed after its run, which all tests of this seed look at."""
    name: str = request.param
    folder = tmp_path_factory.mktemp(name)

    @cache
    def run(number: int) -> Ran:
        return _run(SEEDS[name], CODE[name], networks(number), folder / str(number), warm)

    return run


def test_every_seed_with_python_has_a_check_and_every_check_a_seed() -> None:
    assert CHECKS.keys() == CODE.keys()


@each
def test_code_ends_well_misuses_nothing_and_prints_what_is_true(runs: Runs) -> None:
    for number in VARIANTS:
        ran = runs(number)
        assert ran.run.exit_code == 0, ran.run.stderr[-2000:]
        assert ran.run.stderr == ""
        assert ran.run.select_events("misuse") == []
        assert ran.run.stdout.strip() or ran.run.files
        CHECKS[ran.seed.id].check(ran)


@each
def test_a_wrong_value_in_what_is_printed_is_noticed(runs: Runs) -> None:
    """Checks that let everything pass would prove nothing. Changed: the first, middle and last number, or else word."""
    ran = runs(1)
    values = list(NUMBER.finditer(ran.stdout)) or list(re.finditer(r"\w+", ran.stdout))
    for found in {values[0], values[len(values) // 2], values[-1]} if values else ():
        wrong = "other"
        if NUMBER.fullmatch(found[0]):
            digits = len(found[0].partition(".")[2])
            wrong = f"{float(found[0]) + 2 * 10**-digits:.{digits}f}"
        stdout = ran.stdout[: found.start()] + wrong + ran.stdout[found.end() :]
        with pytest.raises((AssertionError, LookupError, ValueError)):
            CHECKS[ran.seed.id].check(replace(ran, run=replace(ran.run, stdout=stdout)))


@each
def test_code_prints_the_same_on_another_network_where_that_is_said_and_what_is_not_true_there_elsewhere(
    runs: Runs,
) -> None:
    own, other = runs(1), runs(2)
    if CHECKS[own.seed.id].same_everywhere:
        assert own.stdout == other.stdout
        return
    with pytest.raises(AssertionError):
        CHECKS[own.seed.id].check(Ran(own.seed, other.network, own.work, own.run))


@pytest.mark.parametrize("name", BROKEN)
def test_the_fault_in_the_code_to_be_mended_shows(name: str, network: Path, warm: Sandbox, tmp_path: Path) -> None:
    seed = SEEDS[name]
    ast.parse("\n\n".join(extract_python_blocks(seed.input)) or seed.input)  # code, and not prose that fails
    ran = _run(seed, "\n\n".join(extract_python_blocks(seed.input)) or seed.input, network, tmp_path, warm)
    if ran.run.exit_code == 0 and not ran.run.find_misuses():
        with pytest.raises(AssertionError):
            CHECKS[name].check(ran)
