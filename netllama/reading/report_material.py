"""Network reports as material: tasks to learn to read from, and questions on networks that nobody trained on."""

from collections.abc import Sequence

from netllama.core.files import hash_json
from netllama.documents.document import Chunk, show_chunk
from netllama.documents.shown_headings import CountTokens
from netllama.reading.context_choice import choose_context, draws, shuffle
from netllama.reading.reading_records import Arm, ReadingQuestion, ReadingTask
from netllama.rendering.document_texts import REFUSAL, cite_document
from netllama.retrieval.lexical_index import LexicalIndex
from testbed.reports.report_records import Report, ReportQuestion, ReportSet

FAMILY = "network_reports"
PER_TYPE = 8
"""Questions of a type for each network that are learned from."""


def make_chunks(reports: Sequence[Report], count_tokens: CountTokens) -> list[Chunk]:
    """A report is one chunk, its title the heading."""
    counts = count_tokens([show_chunk([report.title], report.text) for report in reports])
    return [
        Chunk(id=report.id, document=f"{FAMILY}/{report.kind}", headings=[report.title], text=report.text, tokens=count)
        for report, count in zip(reports, counts, strict=True)
    ]


def make_tasks(reports: ReportSet, number: int, seed: int, top_k: int, oracle_share: float) -> list[ReadingTask]:
    """`number` tasks of a question each, or as many as the reports give.

    With probability `oracle_share` the report that answers is among the documents; else the answer is that the
    documents do not say. So it is with questions that no report answers, of which the share of the others is taken.
    """
    tasks: list[ReadingTask] = []
    for question in sorted(reports.questions, key=lambda each: hash_json(each.id)):
        if len(tasks) == number:
            break
        key = f"{seed}/{question.id}"
        answered = draws(key, oracle_share)
        if question.golden or not answered:
            golden = question.golden[0] if answered else ""
            documents = choose_context(key, golden, question.distractors, top_k)
            if documents:  # without one, the refusal would be learned for plain questions
                tasks.append(_make_task(question, golden, documents))
    return tasks


def _make_task(question: ReportQuestion, golden: str, documents: list[str]) -> ReadingTask:
    return ReadingTask(
        id=question.id,
        family=FAMILY,
        instruction=question.question,
        documents=documents,
        golden=[golden] if golden else [],
        output=cite_document(question.answer, documents.index(golden) + 1) if golden else REFUSAL,
    )


def rank_reports(chunks: Sequence[Chunk], reports: ReportSet, k: int) -> list[list[str]]:
    """For each question the ids of the `k` reports that share its words best."""
    texts = [show_chunk(chunk.headings, chunk.text) for chunk in chunks]
    index = LexicalIndex.build(texts, [chunk.id for chunk in chunks])
    return [[hit.id for hit in index.search(question.question, k)] for question in reports.questions]


def make_questions(
    reports: ReportSet, rankings: Sequence[Sequence[str]], seed: int, top_k: int
) -> list[ReadingQuestion]:
    """Each question with its documents in every arm that has any.

    What a search finds is shuffled where a report answers: it nearly always finds that one first, and a model that
    trusts whatever comes first would seem to read. Where none answers, it stays in the search's order.
    """
    pairs = zip(reports.questions, rankings, strict=True)
    return [_make_question(question, list(ranking[:top_k]), seed, top_k) for question, ranking in pairs]


def _make_question(question: ReportQuestion, found: list[str], seed: int, top_k: int) -> ReadingQuestion:
    arms: dict[Arm, list[str]] = {"absent": found}
    if question.golden:
        others = shuffle(f"{seed}/{question.id}", question.distractors[:top_k])
        found = shuffle(f"{seed}/{question.id}/found", found)
        arms = {"closed": [], "oracle": list(question.golden), "retrieved": found, "distractors": others}
    return ReadingQuestion(
        id=question.id,
        kind="report",
        family=question.kind,
        question=question.question,
        answer=question.answer,
        choices=list(question.choices),
        golden=list(question.golden),
        arms={arm: shown for arm, shown in arms.items() if shown or arm == "closed"},
    )
