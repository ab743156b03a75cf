"""What the source code says of itself, read off its syntax trees: imports, paths, declared params."""

import ast
from functools import cache
from pathlib import Path

from tests.support.clones import ROOT

PACKAGES = ("stages.", "commands.", "netllama.", "testbed.")
DATA_FOLDERS = ("data/", "models/", "metrics/", "results/")


@cache
def list_nodes(path: Path) -> list[ast.AST]:
    """All nodes of a module's syntax tree. Nobody changes them: tests ask for the same modules again and again."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@cache
def module_path(name: str) -> Path | None:
    """netllama.core.files -> netllama/core/files.py; None for a package or another library."""
    if not name.startswith(PACKAGES) or not name.replace(".", "").isidentifier():
        return None
    path = ROOT / f"{name.replace('.', '/')}.py"
    return path if path.is_file() else None


@cache
def imported_modules(path: Path) -> frozenset[str]:
    names = set()
    for node in list_nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and module_path(node.value):
            # A module that is run as a process of its own is part of the stage too: "netllama.teacher.server_process".
            names.add(node.value)
    return frozenset(names)


@cache
def import_closure(path: Path) -> frozenset[str]:
    """Repository paths of `path` and of all first-party modules that it imports, directly or not."""
    found: set[str] = set()
    queue = [path]
    while queue:
        current = queue.pop()
        name = current.relative_to(ROOT).as_posix()
        if name not in found:
            found.add(name)
            queue += [target for target in map(module_path, imported_modules(current)) if target]
    return frozenset(found)


def data_paths(path: Path) -> set[str]:
    """The string constants of a module (docstrings and messages aside) that are paths of the project's data."""
    return {
        node.value.rstrip("/")
        for node in list_nodes(path)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(DATA_FOLDERS)
        and not any(character in node.value for character in " \n:")
    }


def fields_read(path: Path, name: str) -> set[str]:
    """The attributes that a module takes from a variable or argument `name` or where it loads it: `needs.lora`,
    `Needs.load().lora` -> lora."""

    def is_it(node: ast.expr) -> bool:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load":
            return isinstance(node.func.value, ast.Name) and node.func.value.id == name.capitalize()
        return isinstance(node, ast.Name) and node.id == name

    return {node.attr for node in list_nodes(path) if isinstance(node, ast.Attribute) and is_it(node.value)}
