"""params.yaml as a typed, frozen model, and the view of it that a stage declares.

    class Needs(View):
        loading: LoadingParams
        lora: LoraParams

    needs = Needs.load()          # needs.lora.r: an int that mypy knows

The whole file is checked in one go, and one error reports every problem, each with its key and the nearest known key.
A view holds only the sections that it names, so that a stage cannot read a param that dvc.yaml does not declare. The
file is parsed as DVC parses it (ruamel.yaml, YAML 1.2). Plain scalars and lists only: `dvc exp run -S` rewrites it.
"""

import contextlib
import difflib
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from netllama.core.errors import StageError
from netllama.core.files import read_text
from netllama.core.generate_section import FilterParams, GenerateParams
from netllama.core.judge_section import JudgeParams
from netllama.core.moved_keys import find_moved_keys
from netllama.core.param_types import IN_WORDS, Families, is_plain_value
from netllama.core.retrieve_section import RetrieveParams
from netllama.core.sections import (
    ContaminationParams,
    EvaluateParams,
    LaunchParams,
    LoadingParams,
    LoraParams,
    ModelParams,
    PromptParams,
    Section,
    SplitParams,
    TokenizeParams,
    TrainParams,
)
from netllama.core.teacher_section import TeacherParams

PARAMS = Path("params.yaml")
_SHORT = reprlib.Repr()
"""Writes a value in one short line: aliases (`*a`) make a value of any size out of a few lines of YAML."""
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 80, 80
_NEAR, _NEAR_ELSEWHERE = 0.7, 0.8
"""Similarity (difflib) of a name to the one that it is taken for, in its own section and in another one. `num_epochs`
and `num_reports` have 0.76, `warmup_steps` and `warmup_ratio` 0.67, `max_seq_length` and `max_length` 0.83."""
UNREADABLE_VALUE = (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, AssertionError)
"""What the YAML library raises for a day such as 2024-13-45 and a number of 5,000 digits."""


class Params(Section):
    """params.yaml, in the order of the file."""

    model: ModelParams
    loading: LoadingParams
    prompt: PromptParams
    families: Families
    """Each is data/prompts/NAME.txt and data/seeds/NAME.jsonl."""
    generate: GenerateParams
    teacher: TeacherParams
    filters: FilterParams
    contamination: ContaminationParams
    split: SplitParams
    retrieve: RetrieveParams
    tokenize: TokenizeParams
    lora: LoraParams
    train: TrainParams
    evaluate: EvaluateParams
    judge: JudgeParams
    launch: LaunchParams


class View(BaseModel):
    """The base of what a stage needs: its fields are sections of `Params`, by their names and types."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def load(cls, path: str | Path = PARAMS) -> Self:
        """Check the whole file, return these sections. StageError with every problem of the file."""
        params = read_params(path)
        return cls(**{name: getattr(params, name) for name in cls.model_fields})


def read_params(path: str | Path = PARAMS) -> Params:
    """The whole file, checked. For tests and tools; a stage loads its `View`."""
    raw = parse_yaml(path)
    if not isinstance(raw, dict):
        raise StageError(f"{path}: expected the sections {', '.join(Params.model_fields)}")
    moved = find_moved_keys(raw)
    try:
        params = Params.model_validate(raw)
        problems = find_conflicts(dict(params))
    except ValidationError as error:
        # A list of nothing but bad items is too short to pydantic, too.
        reported = [detail for detail in error.errors() if detail["type"] != "too_short" or not detail["input"]]
        reported = [detail for detail in reported if ".".join(map(str, detail["loc"])) not in moved]
        if moved:  # a file of the old shape lacks whole sections; its moved keys say what to put there
            reported = [detail for detail in reported if detail["type"] != "missing" or detail["loc"][0] in raw]
        problems = [_describe_problem(detail) for detail in reported] + find_conflicts(_valid_sections(raw))
    problems = [*moved.values(), *dict.fromkeys(problems)]
    if problems:
        raise StageError(f"{path}: " + " | ".join(problems))
    return params


def parse_yaml(path: str | Path) -> object:
    """A YAML 1.2 file as DVC reads it; StageError for bad syntax and for a key that stands twice in one section."""
    try:
        return YAML(typ="safe").load(read_text(path))
    except YAMLError as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        reason = (isinstance(error, MarkedYAMLError) and error.problem) or str(error).splitlines()[0]
        if isinstance(error, DuplicateKeyError):
            raise StageError(f"{where}: {reason}; delete one of the two") from None
        raise StageError(f"{where}: not valid YAML ({reason})") from None
    except RecursionError:
        raise StageError(f"{path}: not valid YAML (nested too deeply)") from None
    except UNREADABLE_VALUE as error:
        raise StageError(f"{_find_line(Path(path))}: a value that cannot be read ({error})") from None


def _find_line(path: Path) -> str:
    """PATH:LINE of the first line that cannot be read by itself; PATH where each of them can."""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        try:
            YAML(typ="safe").load(line.strip())
        except UNREADABLE_VALUE:
            return f"{path}:{number}"
        except YAMLError:
            continue
    return str(path)


def find_conflicts(sections: Mapping[str, object]) -> list[str]:
    """Problems between sections; those that are missing from `sections` are not checked."""
    problems = []
    generate, teacher, families = sections.get("generate"), sections.get("teacher"), sections.get("families")
    if isinstance(generate, GenerateParams) and isinstance(teacher, TeacherParams):
        strict = generate.output_contract == "json_schema"
        if strict and (teacher.api == "completions" or not teacher.base_url):
            problems.append(
                "generate.output_contract: json_schema needs teacher.api responses or chat, and a teacher.base_url "
                "whose server supports it; use blocks"
            )
        if generate.judge_model and not teacher.base_url:
            problems.append("generate.judge_model: the embedded teacher is its server's only model; leave it empty")
    if isinstance(families, tuple) and len(set(families)) < len(families):
        problems.append("families: the list has the same name twice")
    return problems


def _valid_sections(raw: Mapping[str, Any]) -> dict[str, object]:
    """The sections of an invalid file that are valid by themselves."""
    valid: dict[str, object] = {}
    for name, section in get_type_hints(Params, include_extras=True).items():
        if name in Params.model_fields:
            with contextlib.suppress(ValidationError):
                valid[name] = TypeAdapter(section).validate_python(raw.get(name))
    return valid


def _describe_problem(error: ErrorDetails) -> str:
    """One line for one pydantic error: the dotted key, what is wrong, what was meant."""
    # A union adds the name of the branch that it tried to the location: keep what is a key of the file.
    keys = [str(part) for part in error["loc"][:2] if isinstance(part, str)]
    key, given = ".".join(keys), error["input"]
    shown = _SHORT.repr(given)
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key, {_suggest_key(keys)}"
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"] == "value_error":
        return f"{key}: {error['ctx']['error']}"
    if error["type"] == "model_type":
        return f"{key}: expected a section of keys, not {shown}"
    if error["type"] == "too_short":
        return f"{key}: the list is empty"
    if error["type"] == "tuple_type":
        return f"{key}: expected a list, not {shown}"
    if error["type"] == "literal_error":
        known = [name.strip("' ") for name in error["ctx"]["expected"].replace(" or ", ", ").split(",")]
        near = _find_near(given, known) if isinstance(given, str) and len(known) > 4 else ""
        return f"{key}: {shown} is unknown{near and f', nearest is {near}'}; expected {error['ctx']['expected']}"
    if error["type"] == "string_pattern_mismatch":
        return f"{key}: {shown} is unknown; expected {IN_WORDS[error['ctx']['pattern']]}"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{key}: {message}, not {shown}{_advise_on_quotes(error['type'], given)}"


def _advise_on_quotes(problem: str, given: object) -> str:
    """Where quotes make a text of a number, or the lack of them a number of a text: what to do."""
    if problem in ("int_type", "bool_type") and isinstance(given, str) and is_plain_value(given):
        return ": write it without quotes"
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    return ": write it in quotes" if problem == "string_type" and is_number else ""


def _suggest_key(keys: list[str]) -> str:
    """The known key that an unknown one may be meant to be, in its own section or else in any; else all there are."""
    if len(keys) == 1:
        near = _find_near(keys[0], list(Params.model_fields))
        return f"nearest known is {near}" if near else f"the sections are {', '.join(Params.model_fields)}"
    section, name = keys
    known = _section_keys(section)
    if near := _find_near(name, known):
        return f"nearest known is {section}.{near}"
    owners = {key: other for other in reversed(Params.model_fields) for key in _section_keys(other)}
    if near := _find_near(name, list(owners), _NEAR_ELSEWHERE):
        return f"nearest known is {owners[near]}.{near}"
    return f"the keys of {section} are {', '.join(known)}"


def _section_keys(name: str) -> list[str]:
    section = Params.model_fields[name].annotation
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, Section) else []


def _find_near(name: str, known: list[str], cutoff: float = _NEAR) -> str:
    """The known name that `name` is a mistyped form of; empty: it is like none."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), "")
