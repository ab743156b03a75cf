"""The documents that a question is asked of, and what the answers say of them.

A document is a user's text, and shown, not obeyed. The numbers in answers are a model's: one that no document had is
said to be wrong.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netllama.asking.columns import clean_text
from netllama.documents.document import Chunk, show_chunk
from netllama.documents.indexed_corpus import IndexedCorpus
from netllama.reading.answer_judgement import split_answer

SHOWN_CHARACTERS = 160
"""Of a chunk's text."""
NOTHING_FOUND = "no document holds a word of the question: what follows rests on no document"
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
"""Where `[0]` is an index."""


@dataclass(frozen=True)
class DocumentSearch:
    """What is looked up for each question."""

    corpus: IndexedCorpus
    most: int
    """Documents with a question."""

    def find_chunks(self, question: str) -> list[Chunk]:
        """The best first; none where no chunk holds a word of the question."""
        return [found.chunk for found in self.corpus.search(question, self.most)]


def list_texts(chunks: Sequence[Chunk]) -> list[str]:
    """The chunks as the models see them."""
    return [show_chunk(chunk.headings, chunk.text) for chunk in chunks]


def preview_chunk(chunk: Chunk) -> list[str]:
    """Headings, and how the text begins: for a terminal, a line each."""
    text = " ".join(chunk.text.split())
    begin = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS].rsplit(" ", 1)[0] + " ..."
    return [clean_text(line) for line in (" > ".join(chunk.headings), begin) if line]


def find_citations(answer: str) -> list[int]:
    """The numbers of documents that an answer names outside its code, in order, each once."""
    return sorted(set(split_answer(_CODE.sub(" ", answer)).cited))


def describe_sources(chunks: Sequence[Chunk], answers: Mapping[str, str]) -> list[str]:
    """The documents that were shown, with who cites them, and what is to be said of each model's answer."""
    cited = {name: find_citations(answer) for name, answer in answers.items()}
    lines = ["documents shown to the models, best first:" if len(answers) > 1 else "documents shown, best first:"]
    for number, chunk in enumerate(chunks, start=1):
        names = [name for name, numbers in cited.items() if number in numbers]
        mark = f"  <- cited by {' and '.join(names)}" if names else ""
        lines += [f"[{number}] {clean_text(chunk.id)}{mark}", *(f"    {line}" for line in preview_chunk(chunk))]
    return lines + [
        f"{name}: {_describe_citations(answer, cited[name], len(chunks))}" for name, answer in answers.items()
    ]


def _describe_citations(answer: str, cited: Sequence[int], shown: int) -> str:
    right = [f"[{number}]" for number in cited if 1 <= number <= shown]
    wrong = [f"[{number}]" for number in cited if not 1 <= number <= shown]
    parts = ["refuses: the documents do not say"] if split_answer(answer).refuses else []
    if right:
        parts.append(f"cites {', '.join(right)}")
    elif not wrong and not parts:
        parts.append("cites no document")
    if wrong:
        parts.append(f"wrongly cites {', '.join(wrong)}, of which none was shown")
    return "; ".join(parts)
