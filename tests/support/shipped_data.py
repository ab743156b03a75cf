"""The data that the project ships. What a user puts beside them in data/ is held to none of the project's rules."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

from netllama.core.records import Question, SeedTask, load_questions, load_seeds
from tests.support.clones import ROOT

DATA = ROOT / "data"
CORPUS = DATA / "corpus"
FAMILIES = ("bgp_knowledge", "pybgpstream", "pybgpstream_realtime", "packet_analysis", "performance_analysis")
GENERAL = "general"
"""The suite that is of no family: what a model may forget while it learns the others."""
SUITES = (*FAMILIES, GENERAL)
SELF_CONTAINED = ("5g", "packets", "performance")
"""Folders of the corpus whose scripts need no file of the replay network: test_corpus_examples.py runs them all in one
process. Those of any other folder run one by one, beside that network (test_corpus.py)."""
CORPUS_FOLDERS = (*SELF_CONTAINED, "bgp", "bgpstream", "measurement")


def ignore_unshipped(folder: str, names: list[str]) -> list[str]:
    """For `shutil.copytree` of data/: what is made there, and what a user put into the corpus or beside the suites."""
    shipped = {
        DATA: {name for name in names if name not in ("generated", "splits", "retrieved", "tokenized")},
        CORPUS: {*CORPUS_FOLDERS},
        DATA / "questions": {f"{suite}.jsonl" for suite in SUITES},
    }
    return [name for name in names if name not in shipped.get(Path(folder), names)]


@cache
def _read_shipped() -> tuple[list[str], dict[str, bytes]]:
    """The folders of data/, each behind the one that it is in, and the files' content."""
    with tempfile.TemporaryDirectory() as place:
        copy = shutil.copytree(DATA, Path(place) / "data", ignore=ignore_unshipped)
        paths = {path.relative_to(copy).as_posix(): path for path in sorted(copy.rglob("*"))}
        folders = [name for name, path in paths.items() if path.is_dir()]
        return folders, {name: path.read_bytes() for name, path in paths.items() if path.is_file()}


def write_shipped(data: Path) -> None:
    """Make the folder `data` with all that is shipped: 240 files, which take a third of the time to copy them."""
    folders, files = _read_shipped()
    data.mkdir()
    for name in folders:
        (data / name).mkdir()
    for name, content in files.items():
        with open(f"{data}/{name}", "wb", buffering=0) as file:
            file.write(content)


@cache
def load_shipped_questions() -> list[Question]:
    """As `load_questions`, of the shipped suites. Nobody changes the list."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(DATA, copy := Path(folder) / "data", ignore=ignore_unshipped)
        return load_questions(copy / "questions")


@cache
def load_shipped_seeds() -> dict[str, list[SeedTask]]:
    """By family. Nobody changes it."""
    return {family: load_seeds(DATA / "seeds", family) for family in FAMILIES}


def list_shipped_notes(*folders: str) -> list[Path]:
    """The notes of these folders of the corpus, or of all that are shipped, by path."""
    return sorted(path for folder in folders or CORPUS_FOLDERS for path in (CORPUS / folder).rglob("*.md"))
