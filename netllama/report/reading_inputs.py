"""Reads what the report says of questions with documents: what they were shown with, and what the search found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from netllama.core.errors import StageError
from netllama.core.files import has_findings, read_jsonl
from netllama.core.metrics import read_details
from netllama.core.records import parse_as
from netllama.documents.chunk_file import iter_chunks
from netllama.reading.reading_records import ReadingQuestion
from netllama.report.answer_browser import ShownDocument


class MarkedShare(BaseModel):
    """A mean over questions with its 95% interval."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float


class SearchMarks(BaseModel):
    """What a search finds for questions on reports, and what is answered from it without a model."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    questions: int
    parser: float
    """Share answered right by a program that knows every wording."""
    best_sentence: float
    """Share where the sentence that shares most words with the question says the answer."""
    recall_at_1: MarkedShare
    recall_at_3: MarkedShare
    recall_at_10: MarkedShare
    reciprocal_rank: MarkedShare
    ndcg: MarkedShare


@dataclass(frozen=True)
class ReadingInputs:
    """What was found; empty: it is not there."""

    texts: dict[str, str] = field(default_factory=dict)
    """Questions on reports, by id."""
    shown: dict[tuple[str, str], list[ShownDocument]] = field(default_factory=dict)
    """By arm and question, in the order of the prompt."""


def read_reading(asked: Path, chunks: Path) -> ReadingInputs:
    """Raises StageError for a file that can't be read."""
    questions = read_jsonl(asked, lambda row: parse_as(ReadingQuestion, row)) if has_findings(asked) else []
    titles = {chunk.id: " > ".join(chunk.headings) for chunk in iter_chunks(chunks)}
    return ReadingInputs(
        {question.id: question.question for question in questions if question.kind == "report"},
        {
            (arm, question.id): _list_shown(question, ids, titles)
            for question in questions
            for arm, ids in question.arms.items()
        },
    )


def _list_shown(question: ReadingQuestion, ids: list[str], titles: Mapping[str, str]) -> list[ShownDocument]:
    return [ShownDocument(name, titles.get(name, ""), name in question.golden) for name in ids]


def read_marks(path: Path) -> SearchMarks | None:
    """None where no question on reports was searched for."""
    details = read_details(path)
    if "reports" not in details:
        return None
    try:
        return SearchMarks.model_validate(details["reports"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StageError(f"{path}: {where}: {first['msg'].lower()}; run `dvc repro retrieve`") from None
