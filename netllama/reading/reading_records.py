"""Questions with documents: those to learn from, and those to be measured on."""

from typing import Literal

from pydantic import model_validator

from netllama.core.records import Record, Text
from netllama.rendering.document_texts import REFUSAL, list_citations, renumber_citations

Arm = Literal["closed", "oracle", "retrieved", "distractors", "absent"]
"""What a question is asked with: no document; the one that holds the answer; those that a search finds; some that don't
hold it, though another does; those that a search finds where no document holds it."""
ARMS: tuple[Arm, ...] = ("closed", "oracle", "retrieved", "distractors", "absent")


class ReadingTask(Record):
    """A row of data/retrieved/train.jsonl: one question or several, documents, and the answers that are learned."""

    id: str
    family: str
    instruction: Text
    documents: list[str]
    """Ids of chunks, in the order in which they are shown."""
    golden: list[str]
    """Those that hold an answer; empty: none does, and the answer says so."""
    output: Text
    """The refusal, or an answer that ends in the number of its document."""

    @model_validator(mode="after")
    def _answer_fits_documents(self) -> "ReadingTask":
        if not self.documents or len(set(self.documents)) < len(self.documents):
            raise ValueError("documents: one or more, none twice")
        if not set(self.golden) <= set(self.documents):
            raise ValueError("golden: some of the documents, or none")
        cited = list_citations(self.output)
        for number, name in enumerate(self.documents, start=1):
            if name in self.golden and number not in cited:
                raise ValueError(f"output: no answer ends in [{number}], the number of a golden document")
        if not self.golden and REFUSAL not in self.output:
            raise ValueError(f"output: no document holds an answer, and it does not say {REFUSAL!r}")
        return self

    def drop_distractor(self) -> "ReadingTask | None":
        """The same task without its last document that holds no answer; None where no other would be left."""
        others = [name for name in self.documents if name not in self.golden]
        if not others or len(self.documents) == 1:
            return None
        left = [name for name in self.documents if name != others[-1]]
        numbers = {self.documents.index(name) + 1: left.index(name) + 1 for name in self.golden}
        output = renumber_citations(self.output, numbers)
        return self.model_copy(update={"documents": left, "output": output})


class ReadingQuestion(Record):
    """A row of data/retrieved/questions.jsonl: a question and its documents in each arm that it is asked in."""

    id: str
    kind: Literal["report", "choice"]
    """report: of a network report, answered in writing; choice: a four-choice question of data/questions/."""
    family: str
    """Of a four-choice question; of a report, its kind."""
    question: Text
    answer: str
    """The exact answer to a question on reports; else empty."""
    choices: list[str]
    """All answers that there can be, where these are few."""
    golden: list[str]
    arms: dict[Arm, list[str]]
    """Ids of the chunks that are shown, in their order."""
