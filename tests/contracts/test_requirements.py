"""requirements.txt lists what the project imports, all of it and nothing else, each pinned."""

import re
import sys
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

from tests.support.clones import ROOT
from tests.support.source_tree import imported_modules

OURS = ("stages", "commands", "netllama", "testbed", "tests", "bench")
NOT_IMPORTED = {
    "matplotlib": "scripts in data/ and tests/data/ run with it on the testbed",
    "mrtparse": "tests/support/mrt_elements.py imports it by name",
    "mypy": "a tool",
    "pytest-timeout": "a plugin",
    "pytest-xdist": "a plugin",
    "ruff": "a tool",
}
REPLAYED = {"pybgpstream", "_pybgpstream"}
"""testbed/shims/ stands in for them."""


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(path: Path) -> dict[str, str]:
    """By distribution, the pinned version; a line that pins nothing is an error."""
    lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    pins = [line.split("==") for line in lines if line and not line.startswith("-r ")]
    assert all(len(pin) == 2 for pin in pins), "every direct dependency is pinned with =="
    return {normalize(name): wanted for name, wanted in pins}


find_owners = cache(packages_distributions)
"""By module, its distributions: all that is installed is looked through."""


@cache
def imported_distributions(folders: tuple[str, ...]) -> set[str]:
    """The distributions behind the imports of these folders' code."""
    modules = {
        name.partition(".")[0]
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for name in imported_modules(path)
        if not re.search(r"[^\w.]", name)
    }
    outside = modules - sys.stdlib_module_names - set(OURS) - REPLAYED
    owners = find_owners()
    return {normalize(owners[module][0]) for module in outside if module in owners}


def test_every_import_of_the_project_is_pinned_and_every_pin_is_imported() -> None:
    pins = set(read_pins(ROOT / "requirements.txt"))
    imported = imported_distributions(("stages", "commands", "netllama", "testbed", "tests"))
    # Imported where it is installed, which is only on a machine with a GPU.
    optional = set(read_pins(ROOT / "requirements-cuda.txt"))
    assert optional == {"liger-kernel"}
    assert imported - pins - optional == set()
    assert pins - imported == set(NOT_IMPORTED)


def test_the_benchmarks_pin_what_they_need_besides() -> None:
    besides = read_pins(ROOT / "bench" / "requirements.txt")
    shared = read_pins(ROOT / "requirements.txt")
    assert not besides.keys() & shared.keys()
    assert imported_distributions(("bench",)) - shared.keys() <= besides.keys()


@pytest.mark.parametrize("name", sorted(read_pins(ROOT / "requirements.txt")))
def test_the_installed_version_is_the_pinned_one(name: str) -> None:
    # The build (+cpu, +cu130) belongs to the machine.
    assert version(name).split("+")[0] == read_pins(ROOT / "requirements.txt")[name]
