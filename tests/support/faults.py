"""Do the tests notice? Faults of one line each, planted in scratch copies, and the tests of each copy run on them.

Run    python -m tests.support.faults 40 --trees /path/to/a/checkout /path/to/another

A fault is a mutation of one expression or statement (`FAULTS`), drawn with a seed from the lines that all checkouts
have in the same function of the same file, spread over netllama/, testbed/ and stages/ by their size. In each
checkout the tests run that import the module: the nearest first, each set until something fails. What fails must pass
without the fault. Write to the checkouts is limited to the planted line, which is put back.

A table of what each checkout found is printed at the end; every result is a line of --results as soon as it is there.
"""

import argparse
import ast
import contextlib
import importlib
import json
import os
import random
import re
import resource
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

PARTS = ("netllama", "testbed", "stages")
LIBRARIES = (
    *("torch", "transformers.models.llama.modeling_llama", "peft", "bitsandbytes", "accelerate", "safetensors.torch"),
    *(
        "pandas",
        "pyarrow.parquet",
        "scapy.all",
        "sklearn.linear_model",
        "scipy.stats",
        "openai",
        "hypothesis",
        "dvc.api",
    ),
)
"""What tests import. Each run is a fork of a process that has them, which saves it seconds."""
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?\.py(?:::.*?)?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Fault:
    """`before`, a line in `function` of the file `path`, becomes `after`."""

    path: str
    function: str
    """Qualified name; empty at the top of the module."""
    occurrence: int
    """Which of the lines of the function that read like this one, from 0."""
    kind: str
    before: str
    after: str


# --- faults

Mutated = tuple[str, ast.AST, str]
"""The kind, the node that is replaced, and the source it becomes."""

OPPOSITES: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def mutations(node: ast.AST) -> Iterator[Mutated]:
    """What can be wrong with one node."""
    match node:
        case ast.Compare(ops=[operator]):
            for other in OPPOSITES[type(operator)]:
                yield "comparison", node, ast.unparse(ast.Compare(node.left, [other()], node.comparators))
        case ast.BoolOp(op=operator):
            yield "and/or", node, ast.unparse(ast.BoolOp(SWAPPED[type(operator)](), node.values))  # type: ignore[arg-type]
        case ast.BinOp(op=operator) if type(operator) in SWAPPED:
            swapped = ast.BinOp(node.left, SWAPPED[type(operator)](), node.right)  # type: ignore[arg-type]
            yield "arithmetic", node, ast.unparse(swapped)
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            yield "constant", node, str(value + 1)
        case ast.Constant(value=bool() as value):
            yield "constant", node, str(not value)
        case ast.UnaryOp(op=ast.Not()):
            yield "condition", node, ast.unparse(node.operand)
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield "condition", test, f"not ({ast.unparse(test)})"
        case ast.comprehension(ifs=[test]):
            yield "condition", test, f"not ({ast.unparse(test)})"
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield "return", value, "None"
            if isinstance(value, ast.Compare | ast.BoolOp):
                yield "return", value, f"not ({ast.unparse(value)})"
        case ast.Continue():
            yield "continue/break", node, "break"
        case ast.Break():
            yield "continue/break", node, "continue"
        case ast.Expr(value=ast.Call()):
            yield "statement", node, "pass"
        case ast.Call(args=[_, *_], keywords=keywords) if len(node.args) + len(keywords) > 1:
            fewer = (node.args, keywords[:-1]) if keywords else (node.args[:-1], keywords)
            yield "argument", node, ast.unparse(ast.Call(node.func, *fewer))


def functions_of(tree: ast.Module) -> dict[int, str]:
    """The qualified name of the innermost function or class at each line that is in one."""
    names: dict[int, str] = {}

    def walk(node: ast.AST, inside: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = inside
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{inside}.{child.name}".lstrip(".")
                names.update(dict.fromkeys(range(child.lineno, (child.end_lineno or child.lineno) + 1), name))
            walk(child, name)

    walk(tree, "")
    return names


def running_code(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes but annotations, what a script does as a program of its own, and what is raised."""
    queue: deque[ast.AST] = deque([tree])
    while queue:
        node = queue.popleft()
        yield node
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "format_spec"):
                continue
            for child in value if isinstance(value, list) else [value]:
                main = isinstance(child, ast.If) and "__name__" in ast.unparse(child.test)
                if isinstance(child, ast.AST) and not isinstance(child, ast.Raise | ast.JoinedStr) and not main:
                    queue.append(child)


def faults_in(root: Path, path: str) -> list[Fault]:
    """Every fault of one line that can be planted in a file."""
    source = (root / path).read_text(encoding="utf-8")
    tree, lines = ast.parse(source), source.splitlines()
    functions, found = functions_of(tree), []
    for node in running_code(tree):
        for kind, replaced, text in mutations(node):
            number, end = getattr(replaced, "lineno", 0), getattr(replaced, "end_lineno", -1)
            if number != end:
                continue
            line = lines[number - 1]
            start, stop = replaced.col_offset, replaced.end_col_offset  # type: ignore[attr-defined]
            after = (line.encode()[:start] + text.encode() + line.encode()[stop:]).decode()
            function = functions.get(number, "")
            alike = [at for at, other in enumerate(lines, 1) if other == line and functions.get(at, "") == function]
            found.append(Fault(path, function, alike.index(number), kind, line, after))
    return found


def planted(root: Path, fault: Fault) -> str | None:
    """The source with the fault in it; None where the file or the function has no such line."""
    file = root / fault.path
    if not file.is_file():
        return None
    source = file.read_text(encoding="utf-8")
    functions, lines = functions_of(ast.parse(source)), source.splitlines()
    places = [
        at for at, line in enumerate(lines, 1) if line == fault.before and functions.get(at, "") == fault.function
    ]
    if fault.occurrence >= len(places):
        return None
    lines[places[fault.occurrence] - 1] = fault.after
    return "\n".join(lines) + "\n"


def parses(root: Path, fault: Fault) -> bool:
    try:
        ast.parse(planted(root, fault) or "(")
    except SyntaxError:
        return False
    return fault.before != fault.after


def draw(roots: list[Path], number: int, seed: int) -> list[Fault]:
    """`number` faults that every tree has a place for: a file by its size, a kind, then one of that kind."""
    random_ = random.Random(seed)
    paths = sorted(path.relative_to(roots[0]).as_posix() for part in PARTS for path in (roots[0] / part).rglob("*.py"))
    sizes = [len((roots[0] / path).read_text(encoding="utf-8").splitlines()) for path in paths]
    drawn: list[Fault] = []
    while len(drawn) < number:
        (path,) = random_.choices(paths, sizes)
        if faults := faults_in(roots[0], path):
            kind = random_.choice(sorted({fault.kind for fault in faults}))
            fault = random_.choice([fault for fault in faults if fault.kind == kind])
            if fault not in drawn and all(parses(root, fault) for root in roots):
                drawn.append(fault)
    return drawn


# --- which tests are near


def module_of(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


@cache
def imports(root: Path, path: str) -> frozenset[str]:
    """First-party files that a file names: in imports, and in texts such as "stages.train"."""
    tree = ast.parse((root / path).read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for base, name in re.findall(r"from ([\w.]+) import (\w+)", node.value):
                names |= {base, f"{base}.{name}"}
            names |= set(re.findall(r"\b(?:netllama|stages|testbed|commands)(?:\.\w+)+", node.value))
            if "testbed" in path and re.search(r"import _?pybgpstream", node.value):
                names.add("testbed.shims._pybgpstream.stream")
    files = set()
    for name in names:
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            base = "/".join(parts[:length])
            for candidate in (f"{base}.py", f"{base}/__init__.py", f"testbed/shims/{base}.py"):
                if (root / candidate).is_file():
                    files.add(candidate)
    if path.startswith("testbed/shims/_pybgpstream/"):  # relative imports
        files |= {found.relative_to(root).as_posix() for found in (root / path).parent.glob("*.py")}
    if path.endswith("script_runner.py"):
        files |= {found.relative_to(root).as_posix() for found in (root / "testbed" / "shims").rglob("*.py")}
    return frozenset(files - {path})


@cache
def fixtures(root: Path) -> dict[str, frozenset[str]]:
    """First-party files that each fixture of conftest.py imports."""
    source = (root / "tests" / "conftest.py").read_text(encoding="utf-8")
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            names = re.findall(r"from ([\w.]+) import", ast.unparse(node))
            paths = (f"{name.replace('.', '/')}.py" for name in names)
            found[node.name] = frozenset(path for path in paths if (root / path).is_file())
    return found


def distance(root: Path, test: str, target: str) -> int | None:
    """Steps from import to import that a test file is away from a module; None: it does not reach it."""
    text = (root / test).read_text(encoding="utf-8")
    first = set(imports(root, test))
    for name, used in fixtures(root).items():
        first |= used if re.search(rf"\b{name}\b", text) else set()
    seen, queue = set(first), deque((path, 1) for path in first)
    while queue:
        path, steps = queue.popleft()
        if path == target:
            return steps
        for other in imports(root, path) - seen:
            seen.add(other)
            queue.append((other, steps + 1))
    return None


def nearest_tests(root: Path, target: str) -> list[list[str]]:
    """Test files in sets: those that import the module, those that import what imports it, and so on.

    The tests of the DAG come last; in a set those come first that are named like the module, then those that mirror its
    folder, then the short ones.
    """
    sets: dict[int, list[str]] = {}
    for file in sorted((root / "tests").rglob("test_*.py")):
        test = file.relative_to(root).as_posix()
        steps = distance(root, test, target)
        if test.startswith("tests/contracts/"):
            steps = 99
        if steps is not None:
            sets.setdefault(steps, []).append(test)

    def order(test: str) -> tuple[bool, int, int]:
        folders = zip(test.split("/")[1:-1], target.split("/")[:-1], strict=False)
        alike = sum(one == other for one, other in folders)
        return Path(test).stem != f"test_{Path(target).stem}", -alike, (root / test).stat().st_size

    return [sorted(sets[steps], key=order) for steps in sorted(sets)]


# --- runs


@dataclass
class Found:
    """What the tests of one tree said to one fault."""

    test: str
    """The one that failed; empty: none did."""
    seconds: float
    """Of processor time."""
    files: int
    """Test files that were run."""
    done: bool
    """All that reach the module were run, or one failed; else the budget was used up before."""


class Suite:
    """The tests of one checkout, which is a scratch copy."""

    def __init__(self, root: Path, budget: float) -> None:
        self.root, self.budget = root, budget
        self.broken: set[str] = set()
        """Tests that fail without any fault."""

    def pytest(self, tests: list[str], left: float) -> list[str] | None:
        """The tests that failed, at most one; None where they needed more than `left` seconds of processor time."""
        options = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no", "-m", "not slow", "--timeout=200"]
        options += ["-o", "addopts=--import-mode=importlib", f"--rootdir={self.root}"]
        options += [option for test in sorted(self.broken) for option in ("--deselect", test)]
        out = self.root.with_name(f"{self.root.name}.out")
        child = os.fork()
        if child == 0:
            self.run_here([*options, *tests], out)
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(child)
            while process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.2)
                if sum(process.cpu_times()[:4]) > left:
                    os.killpg(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        failed = FAILED.findall(out.read_text(encoding="utf-8", errors="replace"))
        if code < 0:
            return None
        return failed[:1] if failed else (["(pytest itself)"] if code not in (0, 5) else [])

    def run_here(self, arguments: list[str], out: Path) -> NoReturn:
        """In the child: pytest in this checkout, with what LIBRARIES name already imported."""
        os.setpgid(0, 0)
        file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.chdir(self.root)
        sys.path[0] = str(self.root)
        for name in [name for name in sys.modules if name.partition(".")[0] in (*PARTS, "commands", "tests")]:
            del sys.modules[name]
        code = 1
        try:
            code = int(pytest.main(arguments))
        finally:
            os._exit(code)

    def look_for(self, fault: Fault, hint: str = "") -> Found:
        """Plant the fault and run tests, `hint` first, until one fails that passes without it."""
        source, file = planted(self.root, fault), self.root / fault.path
        assert source is not None
        original, started, files = file.read_text(encoding="utf-8"), spent(), 0
        sets = [[hint]] if hint and (self.root / hint.partition("::")[0]).is_file() else []
        for tests in sets + nearest_tests(self.root, fault.path):
            while True:
                file.write_text(source, encoding="utf-8")
                try:
                    failed = self.pytest(tests, self.budget - (spent() - started))
                finally:
                    file.write_text(original, encoding="utf-8")
                if failed is None:
                    return Found("", spent() - started, files, False)
                if not failed or (tests == [hint] and "pytest itself" in failed[0]):
                    break
                if failed[0] not in self.broken and not self.pytest(failed[:1], 300):
                    return Found(failed[0], spent() - started, files + len(tests), True)
                self.broken.add(failed[0])
            files += len(tests)
        return Found("", spent() - started, files, True)


def spent() -> float:
    """Seconds of processor time that the runs have taken so far, whatever else the machine does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(rows: list[tuple[Fault, list[Found]]], names: list[str]) -> str:
    lines = [f"{'':4}{'fault':60}{'kind':16}" + "".join(f"{name:>10}" for name in names)]
    for number, (fault, found) in enumerate(rows, 1):
        said = "".join(f"{'found' if one.test else '-' if one.done else 'no time':>10}" for one in found)
        lines.append(f"{number:3} {fault.path + ' ' + fault.function:59.59} {fault.kind:16}{said}")
        lines.append(f"      {fault.before.strip():.100}\n   -> {fault.after.strip():.100}")
    total = "".join(f"{sum(bool(found[at].test) for _, found in rows):>10}" for at in range(len(names)))
    return "\n".join([*lines, f"{len(rows):3} {'':59} {'found':16}{total}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", type=int, help="of faults")
    parser.add_argument("--trees", type=Path, nargs="+", required=True, help="scratch checkouts with their tests")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip", type=int, default=0, help="so many of the faults, which an earlier run has tried")
    parser.add_argument("--budget", type=float, default=120, help="seconds of processor time for a fault and a tree")
    parser.add_argument("--results", type=Path, default=Path("faults.jsonl"))
    given = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    for library in LIBRARIES:
        importlib.import_module(library)
    roots = [path.resolve() for path in given.trees]
    suites = [Suite(root, given.budget) for root in roots]
    rows: list[tuple[Fault, list[Found]]] = []
    say: Callable[..., None] = lambda *texts: print(*texts, flush=True)  # noqa: E731
    for fault in draw(roots, given.number, given.seed)[given.skip :]:
        found: list[Found] = []
        for suite in suites:
            found.append(suite.look_for(fault, next((one.test for one in found if one.test), "")))
            say(f"{given.skip + len(rows) + 1}", fault.path, fault.kind, suite.root.name, found[-1])
        rows.append((fault, found))
        with given.results.open("a", encoding="utf-8") as file:
            values = {root.name: asdict(one) for root, one in zip(roots, found, strict=True)}
            file.write(json.dumps({"fault": asdict(fault), "found": values}) + "\n")
    say(table(rows, [root.name for root in roots]))


if __name__ == "__main__":
    main()
