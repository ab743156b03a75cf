"""docs/params.md and the JSON schema say what the params' sections say."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from commands.document_params import DOCUMENT, SCHEMA, document_params, render_schema
from netllama.core.params import Params, parse_yaml, read_params
from tests.support.clones import ROOT

FILES = [ROOT / "params.yaml", *sorted((ROOT / "profiles").glob("*.yaml"))]


def find_errors(params: Any) -> list[str]:
    schema = json.loads((ROOT / SCHEMA).read_text(encoding="utf-8"))
    return [error.json_path for error in Draft202012Validator(schema).iter_errors(params)]


def test_the_page_and_the_schema_are_up_to_date() -> None:
    remedy = "run `python -m commands.document_params`"
    assert (ROOT / DOCUMENT).read_text(encoding="utf-8") == document_params(read_params(ROOT / "params.yaml")), remedy
    assert (ROOT / SCHEMA).read_text(encoding="utf-8") == render_schema(), remedy


def test_the_page_has_every_key() -> None:
    page = (ROOT / DOCUMENT).read_text(encoding="utf-8")
    ours = read_params(ROOT / "params.yaml").model_dump()
    assert list(ours) == [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    keys = [key for section in ours.values() if isinstance(section, dict) for key in section]
    assert keys == [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_editor_accepts_the_files_and_finds_their_schema(path: Path) -> None:
    assert find_errors(parse_yaml(path)) == []
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert (path.parent / first.removeprefix("# yaml-language-server: $schema=")).resolve() == ROOT / SCHEMA


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("lora", "rr", 8),
        ("lora", "r", 0),
        ("lora", "r", "eight"),
        ("contamination", "similarity_threshold", 1.5),
        ("train", "learning_rate", 0),
        ("teacher", "stop", list("abcde")),
        ("filters", "enabled", ["ecko"]),
    ],
)
def test_an_editor_marks_what_a_stage_would_refuse(section: str, key: str, value: object) -> None:
    changed: Any = copy.deepcopy(parse_yaml(ROOT / "params.yaml"))
    changed[section][key] = value
    assert [path for path in find_errors(changed) if path.startswith(f"$.{section}")]
    with pytest.raises(ValueError, match=section):
        Params.model_validate(changed)
