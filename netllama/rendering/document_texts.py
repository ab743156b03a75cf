"""A question asked of documents, and its answer: the one form that training, evaluation and ask share.

The documents are numbered from 1. The question stands in front of them and behind them: a small model that knows the
question while it reads finds more (of 72 questions on network reports 31 instead of 27 with the right report alone, 18
instead of 11 with three that a search found). An answer ends in the number of the document that it
rests on; where none holds it, there is one fixed sentence.
"""

import re
from collections.abc import Mapping, Sequence

REFUSAL = "The documents do not say."
"""Not in the prompt: a small model that reads it there writes it, whatever the documents say."""
TASK = "Answer from these documents, in as few words as you can, and name the one that says it, as in [1]."

_CITED = re.compile(r" \[(\d+)\]$", re.MULTILINE)
_NUMBERED_LINE = re.compile(r"^(?=\[\d+\])", re.MULTILINE)
"""A line that begins as a document does, such as `[2] Rekhter, Y.` in the references of an RFC."""


def phrase_with_documents(question: str, documents: Sequence[str]) -> str:
    """What the user says who asks `question` of `documents`; the question alone where there are none.

    A line in a document that begins with a number in brackets is moved by a space: no text opens a document of its own.
    """
    if not documents:
        return question
    texts = (_NUMBERED_LINE.sub(" ", text) for text in documents)
    numbered = "\n\n".join(f"[{number}] {text}" for number, text in enumerate(texts, start=1))
    return f"{question}\n\n{numbered}\n\n{TASK}\n\n{question}"


def cite_document(answer: str, number: int) -> str:
    """The answer as the model is taught to write it; `number` counts from 1."""
    return f"{answer} [{number}]"


def list_citations(answers: str) -> set[int]:
    """The numbers that `cite_document` has put at the ends of answers, each a line or several."""
    return {int(number) for number in _CITED.findall(answers)}


def renumber_citations(answers: str, numbers: Mapping[int, int]) -> str:
    """The same with new numbers in place of old ones; a number that `numbers` does not have stays."""
    return _CITED.sub(lambda found: cite_document("", numbers.get(int(found[1]), int(found[1]))), answers)
