"""A name means one thing: every class and every module of the project has a name of its own."""

import ast
from collections import Counter
from pathlib import Path

from tests.support.clones import ROOT
from tests.support.source_tree import list_nodes

ROOMS = ("stages", "commands", "netllama", "testbed")
SHARED = {
    "BGPElem": "pybgpstream's public classes are in its low-level and in its high-level module",
    "BGPRecord": "as BGPElem",
    "BGPStream": "as BGPElem",
    "Needs": "the params that a stage declares: one class in each stage",
}
"""Class names that two modules have, and why."""


def list_modules() -> list[Path]:
    return [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.stem != "__init__"]


def find_repeated(names: list[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def test_every_class_has_a_name_of_its_own() -> None:
    classes = [node.name for path in list_modules() for node in list_nodes(path) if isinstance(node, ast.ClassDef)]
    assert len(classes) > 100
    assert find_repeated(classes) == SHARED.keys()


def test_every_module_has_a_name_of_its_own() -> None:
    assert find_repeated([path.stem for path in list_modules()]) == set()
