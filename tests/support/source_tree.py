"""What the source code says of itself, read off its syntax trees: imports, paths, declared params."""

import ast
from pathlib import Path

from tests.support.clones import ROOT

PACKAGES = ("stages.", "commands.", "netllama.", "testbed.")
DATA_FOLDERS = ("data/", "models/", "metrics/", "results/")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_path(name: str) -> Path | None:
    """netllama.core.files -> netllama/core/files.py; None for a package or another library."""
    if not name.startswith(PACKAGES) or not name.replace(".", "").isidentifier():
        return None
    path = ROOT / f"{name.replace('.', '/')}.py"
    return path if path.is_file() else None


def imported_modules(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    # A module that is run as a process of its own is part of the stage too: "netllama.teacher.server_process".
    names |= {
        node.value
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and module_path(node.value)
    }
    return names


def import_closure(path: Path) -> set[str]:
    """Repository paths of `path` and of all first-party modules that it imports, directly or not."""
    found: set[str] = set()
    queue = [path]
    while queue:
        current = queue.pop()
        name = current.relative_to(ROOT).as_posix()
        if name not in found:
            found.add(name)
            queue += [target for target in map(module_path, imported_modules(current)) if target]
    return found


def data_paths(path: Path) -> set[str]:
    """The string constants of a module (docstrings and messages aside) that are paths of the project's data."""
    return {
        node.value.rstrip("/")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(DATA_FOLDERS)
        and not any(character in node.value for character in " \n:")
    }


def fields_read(path: Path, name: str) -> set[str]:
    """The attributes that a module takes from a variable or argument `name`: `needs.lora` -> lora."""
    return {
        node.attr
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    } | {
        node.attr
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == f"{name.capitalize()}.load()"
    }
