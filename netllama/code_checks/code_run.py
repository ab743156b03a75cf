"""What came of running the Python of a task's output: the record that is stored, and kept beside the task."""

from typing import Literal

from netllama.core.files import hash_json
from netllama.core.records import Record

CodeFinding = Literal[
    "holds",
    "does not parse",
    "missing import",
    "missing file",
    "runtime error",
    "does not end",
    "too much memory",
    "too much output",
    "network attempt",
    "wrong API",
    "invented attribute",
    "invented parameter",
    "missing field",
    "wrong filter",
    "unknown collector",
    "unknown project",
    "unknown router",
    "wrong record type",
    "wrong interface",
    "not a list",
    "not a time",
    "removed API",
    "set too late",
    "assigned attribute",
    "no output",
]
"""What the filter `runs` says of a script: it holds, or the fault that it is rejected for."""


class CodeRun(Record):
    """One script's run."""

    key: str
    """Of the script, and of what it is run against and in (code_runner.py)."""
    finding: CodeFinding
    detail: str
    """What happened, in one line; empty where it holds."""
    misuses: list[str]
    """What the replay of pybgpstream has against it, a line each."""
    printed: str
    """The end of what it printed."""
    wrote: list[str]
    """Files that it wrote."""
    digest: str = ""
    """Of all other fields: what is not as it was written does not count."""

    @property
    def holds(self) -> bool:
        return self.finding == "holds"

    def seal(self) -> "CodeRun":
        return self.model_copy(update={"digest": self.compute_digest()})

    def compute_digest(self) -> str:
        return hash_json(self.model_dump(exclude={"digest"}))
