"""Write docs/params.md and docs/params.schema.json from the docstrings of the params' sections.

Reads  netllama/core/*section*.py, params.yaml (for the defaults)
Writes docs/params.md, docs/params.schema.json (editors complete and check params.yaml with it)
Run    python -m commands.document_params

tests/commands/test_document_params.py fails while the two files differ from what this command writes.
"""

import json
import types
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from netllama.core.errors import run_stage
from netllama.core.files import write_text
from netllama.core.param_types import Section
from netllama.core.params import PARAMS, Params, read_params

DOCUMENT = Path("docs/params.md")
SCHEMA = Path("docs/params.schema.json")
HEAD = """# Params

Every key of `params.yaml`, by section. Written by `python -m commands.document_params` from the docstrings in
`netllama/core/`; don't edit it by hand.

Change a value in the file, or for one experiment: `dvc exp run -S lora.r=32`. The whole file is checked before a stage
does anything: an unknown key is an error that names a known one that is near, and one error reports every problem.
Each stage declares the sections that it reads (`dvc.yaml`), so a change reruns only the stages that use it.
"""


TABLE_HEAD = ("| key | default | values | meaning |", "|---|---|---|---|")


def document_params(defaults: Params) -> str:
    """The Markdown page: a table of keys for each section."""
    parts = [HEAD]
    for name, field in Params.model_fields.items():
        section, value = field.annotation, getattr(defaults, name)
        parts.append(f"## {name}\n")
        if isinstance(section, type) and issubclass(section, Section):
            parts += [f"{_one_line(section.__doc__ or '')}\n", *TABLE_HEAD]
            parts += [_row(key, entry, getattr(value, key)) for key, entry in section.model_fields.items()]
        else:
            parts += [f"{_one_line(field.description or '')} Default: {_show(value)}."]
        parts.append("")
    return "\n".join(parts)


def render_schema() -> str:
    schema = Params.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _row(key: str, field: FieldInfo, default: object) -> str:
    cells = (f"`{key}`", _show(default), _describe_type(field), _one_line(field.description or ""))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _show(value: object) -> str:
    if value is None or value == "":
        return "(empty)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "(none)"
    return str(value)


def _describe_type(field: FieldInfo) -> str:
    """The values a key takes, for people: `nf4, int8, none`, `number, above 0 and at most 1`, `text or empty`."""
    bounds = [limit for entry in field.metadata for limit in _describe_bounds(entry)]
    return ", ".join([_name_type(field.annotation), *([" and ".join(bounds)] if bounds else [])])


def _describe_bounds(constraint: object) -> list[str]:
    names = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most", "max_length": "at most"}
    nested = constraint.metadata if isinstance(constraint, FieldInfo) else [constraint]
    found = []
    for entry in nested:
        for name, words in names.items():
            if (limit := getattr(entry, name, None)) is not None:
                found.append(f"{words} {limit}")
    return found


def _name_type(annotation: object) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _name_type(arguments[0])
    if origin is Literal:
        return ", ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join(_name_type(argument) for argument in arguments)
    if origin is tuple:
        return "list"
    names: dict[object, str] = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "true, false",
        type(None): "empty",
    }
    return names.get(annotation, "number")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def main() -> None:
    write_text(DOCUMENT, document_params(read_params(PARAMS)))
    write_text(SCHEMA, render_schema())
    print(f"{DOCUMENT}, {SCHEMA}: written from netllama/core/")


if __name__ == "__main__":
    run_stage(main, __doc__)
