"""Keeps what came of each script, in a file of its own, so that no script is run twice.

A file is renamed into place whole, and what is in it has a digest: a damaged one counts as missing, and its script is
run again. Recorded runs are only read.
"""

from collections.abc import Iterable
from pathlib import Path

from netllama.code_checks.code_run import CodeRun
from netllama.core.files import dump_canonical_json, iter_lines, parse_json, write_text
from netllama.core.records import parse_as


class RunStore:
    def __init__(self, folder: Path, recorded: Path | None = None) -> None:
        self.folder = folder
        self._found: dict[str, CodeRun] = {}
        if recorded and recorded.is_file():
            self._remember(read_run(line) for _, line in iter_lines(recorded))

    def find(self, key: str) -> CodeRun | None:
        if key not in self._found:
            try:
                self._remember([read_run(self._locate(key).read_text(encoding="utf-8"))])
            except (OSError, UnicodeDecodeError):
                return None
        return self._found.get(key)

    def add(self, run: CodeRun) -> None:
        path = self._locate(run.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, dump_canonical_json(run.model_dump()) + "\n")
        self._remember([run])

    def _remember(self, runs: Iterable[CodeRun | None]) -> None:
        self._found |= {run.key: run for run in runs if run}

    def _locate(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


def read_run(line: str) -> CodeRun | None:
    """None where the line is not as it was written."""
    try:
        run = parse_as(CodeRun, parse_json(line))
    except ValueError:
        return None
    return run if run.digest == run.compute_digest() else None
