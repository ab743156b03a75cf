"""The tests' own machinery: how tests are dealt to workers, and how faults are planted."""

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.clones import ROOT
from tests.support.faults import draw, faults_in, nearest_tests, planted
from tests.support.workers import SLOW_FIRST, deal

CODE = """
def within(value, low=0, *, strict=False):
    if not strict and value == low:
        return low <= value + 1
    for item in range(value, 9):
        if item:
            continue
        print(item)
    return [item for item in str(value) if item]
"""


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_every_test_is_dealt_once_and_each_worker_begins_with_slow_modules(workers: int) -> None:
    names = [f"tests/{module}::test_{number}" for module in SLOW_FIRST for number in range(5)]
    names += [f"tests/other/test_{number}.py::test_it" for number in range(400)]
    items: Any = [SimpleNamespace(nodeid=name) for name in sorted(names)]
    dealt = [item.nodeid for item in deal(items, workers)]
    assert sorted(dealt) == sorted(names)
    for worker in range(min(workers, len(SLOW_FIRST))):
        assert dealt[len(dealt) * worker // workers].startswith(f"tests/{SLOW_FIRST[worker]}::")


def test_the_slow_modules_are_modules() -> None:
    assert [module for module in SLOW_FIRST if not (ROOT / "tests" / module).is_file()] == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "netllama").mkdir()
    (tmp_path / "netllama" / "ranges.py").write_text(CODE)
    return tmp_path


def test_a_fault_changes_one_line_into_another_that_python_reads(tree: Path) -> None:
    faults = faults_in(tree, "netllama/ranges.py")
    assert {fault.kind for fault in faults} == {
        *("comparison", "and/or", "arithmetic", "constant", "condition", "return", "continue/break", "statement"),
        "argument",
    }
    for fault in faults:
        source = planted(tree, fault)
        assert source is not None
        ast.parse(source)
        pairs = zip(CODE.splitlines(), source.splitlines(), strict=True)
        assert [(one, other) for one, other in pairs if one != other] == [(fault.before, fault.after)]


def test_faults_are_drawn_from_the_lines_that_all_trees_have(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "netllama").mkdir()
    (other / "netllama" / "ranges.py").write_text("\n\n" + CODE.replace("range(value, 9)", "range(value, 8)"))
    drawn = draw([tree, other], 9, seed=1)
    assert drawn == draw([tree, other], 9, seed=1)
    assert len(set(drawn)) == 9
    assert all("range(" not in fault.before for fault in drawn)
    assert all(planted(root, fault) for fault in drawn for root in (tree, other))


def test_the_tests_that_import_a_module_are_the_nearest() -> None:
    sets = nearest_tests(ROOT, "netllama/novelty/rouge.py")
    assert sets[0][0] == "tests/netllama/novelty/test_rouge.py"
    assert sets[-1] == sorted(sets[-1], key=lambda test: (ROOT / test).stat().st_size)
    assert "tests/contracts/test_pipeline.py" in sets[-1]
