"""The rows of the data files: seed tasks, instructions and questions, each checked as it is read."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from netllama.core.errors import StageError
from netllama.core.files import Row, read_jsonl

LETTERS = "ABCD"
Form = Literal[
    "explain", "compare", "debug", "configure", "interpret", "compute", "decide", "write_code", "fix_code", ""
]
"""What a task asks for; empty: not said."""
Difficulty = Literal["easy", "medium", "hard", ""]


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("empty")
    return text


Text = Annotated[str, AfterValidator(_not_blank)]


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Task(Record):
    """What a user asks and what an expert answers. `input` is concrete data, empty when not needed."""

    instruction: Text
    input: str
    output: Text


class SeedTask(Task):
    """A hand-written task of data/seeds/F.jsonl."""

    id: str = Field(min_length=1)
    category: str = Field(min_length=1)
    reference: str = Field(min_length=1)
    """RFC and section, 3GPP TS and clause, or library documentation; several are separated by `; `."""
    form: Form = ""
    difficulty: Difficulty = ""
    scenario: str = ""
    """What code in the output is run against in the tests (testbed); empty: `mixed`."""


class Instruction(Task):
    """A row of the pool and of the splits; generated ones carry their provenance."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    id: str
    family: str
    category: str = ""
    """A seed's; a generated row's where the teacher gave one (the JSON schema contract)."""
    source: Literal["seed", "generated", "extra"]


class Question(Record):
    """A row of data/questions/*.jsonl."""

    id: str = Field(min_length=1)
    family: str
    kind: Literal["choice", "true_false", "blank", "open", "code"]
    category: str = ""
    difficulty: Difficulty = ""
    question: Text
    options: list[Text]
    answer: str
    """choice: a letter; true_false: `true` or `false`; blank, open: the text; code: a script that solves the task."""
    aliases: list[str]
    """blank: other texts that are right, too."""
    key_facts: list[str]
    """open: what a complete answer says."""
    reference: str
    cluster: str
    """Questions of one non-empty cluster stand or fall together."""
    scenario: str = ""
    """code: what the script is run against (testbed); empty: `mixed`."""

    @model_validator(mode="after")
    def _answer_fits_kind(self) -> "Question":
        if self.kind == "choice":
            if not 2 <= len(self.options) <= len(LETTERS):
                raise ValueError("a choice question has 2 to 4 options")
            if self.answer not in list(LETTERS[: len(self.options)]):
                raise ValueError(f"answer {self.answer!r} is not the letter of an option")
        if self.kind == "true_false" and self.answer not in ("true", "false"):
            raise ValueError(f"answer {self.answer!r} is neither true nor false")
        return self


def parse_as(model: type[Record], row: Row) -> Any:
    """`row` as `model`, or ValueError with one short reason."""
    try:
        return model.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "value_error":
            raise ValueError(": ".join(filter(None, (key, str(first["ctx"]["error"]))))) from None
        known = f" (keys: {', '.join(model.model_fields)})" if first["type"] == "extra_forbidden" else ""
        raise ValueError(f"{key}: {first['msg'].lower()}{known}") from None


def load_seeds(folder: Path, family: str) -> list[SeedTask]:
    """All seed tasks of a family; an empty file or a repeated id is an error."""
    path = folder / f"{family}.jsonl"
    seeds = read_jsonl(path, lambda row: parse_as(SeedTask, row))
    if not seeds:
        raise StageError(f"{path}: family {family} has no seed task; write one, or drop it from families")
    require_unique_ids(path, seeds)
    return seeds


def load_instructions(path: str | Path) -> list[Instruction]:
    return read_jsonl(path, lambda row: parse_as(Instruction, row))


def load_questions(folder: Path) -> list[Question]:
    """The questions of every file in `folder`, in the order of file name and line; no id twice in all of them."""
    questions: list[Question] = []
    for path in sorted(folder.glob("*.jsonl")):
        questions += read_jsonl(path, lambda row: parse_as(Question, row))
        require_unique_ids(path, questions)
    if not questions:
        raise StageError(f"{folder}: no questions; add a .jsonl file")
    return questions


def require_unique_ids(path: str | Path, rows: list[Any]) -> None:
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise StageError(f"{path}: id {row.id} is used twice")
        seen.add(row.id)
