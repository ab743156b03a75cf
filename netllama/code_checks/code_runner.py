"""Scripts -> what came of each: run in the sandbox on the testbed, as many at once as there are cores, each only once.

What decides is processor time, memory and disk, so that a busy machine comes to the same findings; wall time only ends
what sleeps.
"""

import re
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from netllama.code_checks.code_faults import find_fault, list_misuses
from netllama.code_checks.code_run import CodeRun
from netllama.code_checks.run_store import RunStore
from netllama.code_tasks.code_answers import remove_chance, run_code
from netllama.code_tasks.code_ladder import CodeVerdict, parse_code
from netllama.core.cores import count_cores
from netllama.core.errors import StageError
from netllama.core.files import ensure_scratch_folder, hash_json
from netllama.core.temporary_folders import hold_folder
from netllama.sandbox.exchange import Limits
from netllama.sandbox.sandbox import Sandbox
from netllama.sandbox.sandbox_choice import find_sandbox
from netllama.sandbox.warm_sandbox import WarmSandbox
from testbed.network import PARTS, ensure_network, hash_code
from testbed.script_runner import SHIMS, ScriptRun

VERSION = 2
"""Of this room and the sandbox: raise it when a script may end in another way than before."""
LIBRARIES = ("numpy", "pandas", "matplotlib.pyplot", "scapy.all")
"""What is imported before scripts start."""
NETWORK = 1
"""The seed of the network that scripts are run against."""
LIMITS = Limits(cpu_seconds=10.0, idle_seconds=10.0, wall_seconds=600.0)
"""A hand-written script takes a second of processor time. A script that only sleeps is idle, on a busy machine, too."""
LONGEST_PRINTED = 2000
"""Characters of what a script printed that are kept, the last ones."""
MOST_NAMES = 20
"""Files and misuses that are listed."""
REMEDY = "Or take `runs` out of filters.enabled"
_PLACE = re.compile(r"/sandbox/(?:cwd|script)/|/[^\s'\"()]*/(?:site-packages|python3\.\d+)/")
"""Where a script or a library is: other machines have it elsewhere."""


class Script(NamedTuple):
    code: str
    scenario: str = ""
    """What it is run against; empty: as testbed/script_runner.py chooses."""


class CodeRunner:
    """`used` are all runs that were asked for, by their keys."""

    def __init__(self, store: RunStore) -> None:
        self.store = store
        self.used: dict[str, CodeRun] = {}
        self.started = 0
        """Scripts that were run, since their runs were not stored."""
        self._versions = {name: _find_version(name.partition(".")[0]) for name in LIBRARIES}
        self._network = hash_code([*PARTS, SHIMS])

    def run_all(self, scripts: Sequence[Script]) -> list[CodeRun]:
        """What came of each script, in their order. StageError where one must be run, and no sandbox works here."""
        keys = [self.make_key(script) for script in scripts]
        missing = {key: script for key, script in zip(keys, scripts, strict=True) if not self.store.find(key)}
        if missing:
            self._run_missing(missing)
        found = {key: run for key in keys if (run := self.store.find(key))}
        self.used |= found
        return [found[key] for key in keys]

    def make_key(self, script: Script) -> str:
        limits = vars(LIMITS)
        network = [NETWORK, self._network, self._versions]
        return hash_json([VERSION, limits, network, script.scenario, script.code])

    def close(self) -> None:
        """End the processes that wait for more scripts, which else end with this one."""
        self._sandbox.close()

    @cached_property
    def _sandbox(self) -> WarmSandbox:
        return WarmSandbox(find_sandbox(remedy=REMEDY).level, LIBRARIES)

    def _run_missing(self, missing: dict[str, Script]) -> None:
        sandbox = self._sandbox
        network = ensure_network(ensure_scratch_folder("network"), NETWORK)
        with tqdm(total=len(missing), desc="runs", unit="script", leave=False) as bar:

            def run(key: str, script: Script) -> None:
                self.store.add(run_one(key, script, network, sandbox))
                bar.update()

            pool = ThreadPoolExecutor(count_cores())
            try:
                for _ in pool.map(run, missing.keys(), missing.values()):
                    self.started += 1
            finally:
                pool.shutdown(cancel_futures=True)


def run_one(key: str, script: Script, network: Path, sandbox: Sandbox) -> CodeRun:
    """Run a script and judge it. StageError where something else than the script or its limits ended it."""
    tree = parse_code(script.code)
    if isinstance(tree, CodeVerdict):
        return CodeRun(key=key, finding="does not parse", detail=tree.detail, misuses=[], printed="", wrote=[]).seal()
    with hold_folder(tempfile.gettempdir(), "code-") as folder:
        folder.chmod(0o711)  # the script's user may differ from ours
        run = run_code(script.code, script.scenario, network, folder / "task", sandbox, LIMITS)
        if run.ended == "stopped":
            raise StageError("a script was stopped from outside (out of memory?): nothing is known of it; run it again")
        finding, detail = find_fault(tree, run)
        wrote = _list_names(run, folder / "task" / "cwd")

        def clean(text: str) -> str:
            return _PLACE.sub("", remove_chance(text, f"{folder}/task/cwd/")).replace(str(folder), "")

    return CodeRun(
        key=key,
        finding=finding,
        detail=clean(detail),
        misuses=list(map(clean, list_misuses(run)))[:MOST_NAMES],
        printed=clean(run.stdout)[-LONGEST_PRINTED:],
        wrote=wrote,
    ).seal()


def _list_names(run: ScriptRun, work: Path) -> list[str]:
    names = [str(path.relative_to(work)).encode("utf-8", "replace").decode() for path in run.files]
    return names[:MOST_NAMES]


def _find_version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
