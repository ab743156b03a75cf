"""The rows of the data files: seed tasks, instructions and questions, each checked as it is read."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from netllama.core.errors import StageError
from netllama.core.files import JsonObject, is_finding, load_all, read_jsonl
from netllama.core.noncharacters import find_noncharacter

LETTERS = "ABCDEFGHIJ"
Form = Literal[
    "explain", "compare", "debug", "configure", "interpret", "compute", "decide", "write_code", "fix_code", ""
]
"""What a task asks for; empty: not said."""
Difficulty = Literal["easy", "medium", "hard", ""]
Finding = Literal["agrees", "differs", "contradicted", "orders_disagree", "unread"]
"""`contradicted`: a note contradicts the first answer; `orders_disagree`: the two comparisons say different things;
`unread`: a comparison can't be read, or there is no second answer."""
QuestionKind = Literal["choice", "true_false", "blank", "open", "code"]


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("empty")
    return text


Text = Annotated[str, AfterValidator(_not_blank)]


class Record(BaseModel):
    """A row of a JSONL file: frozen, every key known, no value coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


R = TypeVar("R", bound=Record)


def _refuse_noncharacters(**texts: str) -> None:
    for name, text in texts.items():
        if found := find_noncharacter(text):
            raise ValueError(f"{name} contains {found}; delete it")


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

    @model_validator(mode="after")
    def _has_characters_alone(self) -> "SeedTask":
        _refuse_noncharacters(instruction=self.instruction, input=self.input, output=self.output)
        return self


class Instruction(Task):
    """A row of the pool and of the splits."""

    id: str
    family: str
    category: str = ""
    """A seed's; a generated row's where the teacher gave one (the JSON schema contract)."""
    source: Literal["seed", "generated", "extra", "program"]


class SeedInstruction(SeedTask, Instruction):
    """A hand-written task as a row of the splits."""

    source: Literal["seed"] = "seed"


class Provenance(Record):
    """Where a generated task comes from."""

    round: int
    slot: int
    """The request's place in its round."""
    exemplars: list[str]
    """Ids of the tasks that the teacher was shown."""
    request: str
    """The key of the request and of its answer in data/generated/responses.jsonl."""
    model: str
    """The teacher's model, as its server names it."""
    nearest: str | None
    """The row that the task is most like, or the question that it was rejected for; None: it is like none."""
    nearest_score: float
    """ROUGE-L F1 to it; of a question whose words the task repeats, the share of the passage's runs."""
    code_run: str = Field(default="", exclude_if=lambda value: not value)
    """The key of what came of its Python, in data/generated/runs.jsonl; empty: none was run."""
    repairs: list[str] = Field(default=[], exclude_if=lambda value: not value)
    """Keys of the teacher's answers that were to mend it, in their order."""


class GeneratedInstruction(Provenance, Instruction):
    """A task that the teacher wrote and every filter let pass."""

    source: Literal["generated"] = "generated"


class SecondAnswer(Record):
    """What the filter `agrees` found out about a task (netllama/selfinstruct/second_answers.py)."""

    output: str
    """The second answer, written without sight of the first; empty: there is none that is whole."""
    finding: Finding
    said: list[str]
    """What each comparison said, or why it can't be read; none where there was nothing to compare."""
    notes: list[str]
    """Ids of the notes that the comparisons were shown."""


class ProgramInstruction(Instruction):
    """A task that a program drew from the testbed; its kind is the category."""

    difficulty: Difficulty
    source: Literal["program"] = "program"


class RejectedCandidate(Provenance):
    """A task that the teacher wrote and that was not kept; any of its texts may be empty."""

    id: str
    family: str
    category: str
    instruction: str
    input: str
    output: str
    reason: str
    """The filter that objected, or what the parser says of it."""
    fault: str = Field(default="", exclude_if=lambda value: not value)
    """What `runs` objects to."""
    second_answer: SecondAnswer | None = Field(default=None, exclude_if=lambda value: value is None)
    """What `agrees` objects to."""


class Question(Record):
    """A row of data/questions/*.jsonl."""

    id: str = Field(min_length=1)
    family: str
    kind: QuestionKind
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
                raise ValueError(f"a choice question has 2 to {len(LETTERS)} options")
            if self.answer not in list(LETTERS[: len(self.options)]):
                raise ValueError(f"answer {self.answer!r} is not the letter of an option")
            if len({" ".join(option.split()) for option in self.options}) < len(self.options):
                raise ValueError("two options are equal; change one")
        if self.kind == "true_false" and self.answer not in ("true", "false"):
            raise ValueError(f"answer {self.answer!r} is neither true nor false")
        if self.kind in ("blank", "open") and not self.answer.strip():
            raise ValueError("answer is empty")
        if self.kind == "blank" and "__" not in self.question:
            raise ValueError("has no blank; write one as ____")
        return self

    @model_validator(mode="after")
    def _has_characters_alone(self) -> "Question":
        _refuse_noncharacters(question=self.question, options="".join(self.options), answer=self.answer)
        return self


def parse_as(model: type[R], row: JsonObject) -> R:
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


def load_content(
    seed_folder: Path, question_folder: Path, families: Sequence[str]
) -> tuple[dict[str, list[SeedTask]], list[Question]]:
    """The seed tasks of each family, and the questions; the error lists what is wrong in all of their files."""
    seeds: dict[str, list[SeedTask]] = {}
    questions: list[Question] = []

    def add_family(family: str) -> None:
        seeds[family] = load_seeds(seed_folder, family)

    def add_questions() -> None:
        questions.extend(load_questions(question_folder))

    loads: list[Callable[[], None]] = [*(partial(add_family, family) for family in families), add_questions]
    load_all(loads)
    return seeds, questions


def parse_instruction(row: JsonObject) -> Instruction:
    """`row` as the record of its source, or ValueError with one short reason."""
    records: dict[str, type[Instruction]] = {
        "seed": SeedInstruction,
        "generated": GeneratedInstruction,
        "program": ProgramInstruction,
    }
    return parse_as(records.get(str(row.get("source")), Instruction), row)


def load_instructions(path: str | Path) -> list[Instruction]:
    """The rows of the pool or of a split; none where `write_findings` says that there is none."""
    rows = read_jsonl(path, lambda row: parse_instruction(row) if is_finding(row) else None)
    return [row for row in rows if row]


def load_questions(folder: Path) -> list[Question]:
    """The questions of every file in `folder`, in the order of file name and line; no id twice in all of them.

    The error lists what is wrong in all files: broken lines, and files that would not be read.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() != ".md" and path.name[0] != ".")
    files = load_all([partial(_load_file, path) for path in paths])
    if not any(files):
        raise StageError(f"{folder}: no questions; add a .jsonl file")
    holders: dict[str, list[Path]] = {}
    for path, listed in zip(paths, files, strict=True):
        for question in listed:
            holders.setdefault(question.id, []).append(path)
    _refuse_repeated(holders)
    return [question for listed in files for question in listed]


def _load_file(path: Path) -> list[Question]:
    if path.suffix != ".jsonl":
        raise StageError(
            f"{path}: is not read, since questions are in .jsonl files, one object a line; convert or move it"
        )
    return read_jsonl(path, lambda row: parse_as(Question, row))


def require_unique_ids(path: str | Path, rows: Sequence[SeedTask | Instruction | Question]) -> None:
    """StageError with a line for each id that several rows have."""
    holders: dict[str, list[str | Path]] = {}
    for row in rows:
        holders.setdefault(row.id, []).append(path)
    _refuse_repeated(holders)


def _refuse_repeated(holders: Mapping[str, Sequence[str | Path]]) -> None:
    """`holders`: the files that an id is in, as often as it is in them."""
    lines = []
    for row_id, files in holders.items():
        if len(files) > 1:
            number = "twice" if len(files) == 2 else f"{len(files)} times"
            lines.append(f"{' and '.join(map(str, dict.fromkeys(files)))}: id {row_id} is used {number}")
    if lines:
        raise StageError("\n".join(lines))
