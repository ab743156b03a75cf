"""The corpus as material: chunks for the four-choice questions, and for tasks of the training split.

What a search with the question alone finds is what a user would show the model. Which chunk holds the answer is not
written down anywhere; what a search with the question and its answer finds first stands for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from netllama.core.records import Instruction, Question
from netllama.documents.document import Chunk, show_chunk
from netllama.documents.indexed_corpus import IndexedCorpus
from netllama.reading.context_choice import choose_context, draws
from netllama.reading.reading_records import Arm, ReadingQuestion, ReadingTask
from netllama.rendering.document_texts import REFUSAL, cite_document
from netllama.rendering.question_texts import list_options, phrase_question
from netllama.retrieval.terms import split_terms

SAME_SHARE = 0.6
"""A distractor that holds so much of the answer's terms, or of the golden chunk's, might hold the answer."""
SEARCHED = 12
"""Chunks among which distractors are chosen, for each that is shown."""


@dataclass(frozen=True)
class NoteSearch:
    corpus: IndexedCorpus

    def rank(self, query: str, k: int) -> list[str]:
        return [hit.chunk.id for hit in self.corpus.search(query, k)]

    def find_best(self, query: str) -> Chunk | None:
        return next((hit.chunk for hit in self.corpus.search(query, 1)), None)

    def list_distractors(self, query: str, golden: Chunk, answer: str, k: int) -> list[str]:
        """Chunks that a search for `query` finds and that don't hold the answer, as far as shared words can tell."""
        right, wanted = _list_terms(golden), set(split_terms(answer))
        others = []
        for hit in self.corpus.search(query, SEARCHED * k):
            terms = _list_terms(hit.chunk)
            is_same = len(terms & right) > SAME_SHARE * len(terms)
            if hit.chunk.id != golden.id and not is_same and len(terms & wanted) <= SAME_SHARE * len(wanted):
                others.append(hit.chunk.id)
        return others[:k]


def _list_terms(chunk: Chunk) -> set[str]:
    return set(split_terms(show_chunk(chunk.headings, chunk.text)))


def make_questions(questions: Sequence[Question], search: NoteSearch, top_k: int) -> list[ReadingQuestion]:
    """The four-choice questions that a search finds anything for."""
    made = []
    for question in questions:
        if question.kind != "choice":
            continue
        options, right = list_options(question)
        best = search.rank(f"{question.question} {options[right]}", 1)
        found = search.rank(question.question, top_k)
        if best and found:
            arms: dict[Arm, list[str]] = {"oracle": best, "retrieved": found}
            made.append(
                ReadingQuestion(
                    id=question.id,
                    kind="choice",
                    family=question.family,
                    question=phrase_question(question),
                    answer="",
                    choices=[],
                    golden=best,
                    arms=arms,
                )
            )
    return made


def make_tasks(
    rows: Sequence[Instruction], search: NoteSearch, seed: int, top_k: int, share: float, oracle_share: float
) -> list[ReadingTask]:
    """A `share` of the rows without code, once more with documents; in `oracle_share` of them one fits the answer."""
    made = []
    for row in rows:
        key = f"{seed}/{row.id}"
        if "```" in row.output or not draws(f"{key}/share", share):
            continue
        asked = f"{row.instruction}\n\n{row.input}" if row.input else row.instruction
        best = search.find_best(f"{asked} {row.output}")
        if not best:
            continue
        golden = best.id if draws(key, oracle_share) else ""
        documents = choose_context(key, golden, search.list_distractors(asked, best, row.output, top_k), top_k)
        if documents:
            answer = cite_document(row.output, documents.index(golden) + 1) if golden else REFUSAL
            made.append(
                ReadingTask(
                    id=f"{row.id}+documents",
                    family=row.family,
                    instruction=asked,
                    documents=documents,
                    golden=[golden] if golden else [],
                    output=answer,
                )
            )
    return made
