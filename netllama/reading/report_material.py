"""Network reports as material: tasks to learn to read from, and questions on networks that nobody trained on."""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from itertools import count, cycle, islice
from typing import get_args

from netllama.core.files import hash_json
from netllama.documents.document import Chunk, show_chunk
from netllama.documents.shown_headings import CountTokens
from netllama.reading.context_choice import choose_context, draw_count, draws, shuffle
from netllama.reading.reading_records import Arm, ReadingQuestion, ReadingTask
from netllama.rendering.document_texts import REFUSAL, cite_document
from netllama.retrieval.lexical_index import LexicalIndex
from testbed.reports.report_records import Absence, Report, ReportQuestion, ReportSet

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


def make_tasks(
    reports: ReportSet, number: int, seed: int, top_k: int, oracle_share: float, questions_per_task: int = 1
) -> list[ReadingTask]:
    """Tasks that ask `number` questions, or as many as the reports give; each from one to `questions_per_task`.

    With probability `oracle_share` the report that answers a question is among the documents. To the others the answer
    is that the documents do not say. Of those that begin a task it is so for one of three reasons in turn: the report
    is not shown, there is none on the subject, or it leaves the fact out. The questions behind the first one are about
    the same documents: answered by one of them, or about something that resembles it.
    """
    waiting = _WaitingQuestions(reports.questions)
    tasks: list[ReadingTask] = []
    asked, places, reasons = 0, count(), cycle(get_args(Absence))
    while asked < number:
        answered = draws(f"{seed}/{next(places)}", oracle_share)
        question = waiting.take_first([""] if answered else islice(reasons, 3))
        if question is None:
            break
        key = f"{seed}/{question.id}"
        documents = choose_context(key, question.golden[0] if answered else "", question.distractors, top_k)
        if not documents:  # the refusal would be learned for plain questions
            continue
        own = [question]
        for turn in range(1, min(draw_count(key, questions_per_task), number - asked)):
            if another := waiting.take_about(documents, draws(f"{key}/{turn}", oracle_share)):
                own.append(another)
        tasks.append(_make_task(shuffle(f"{key}/questions", own), question.id, documents))
        asked += len(own)
    return tasks


class _WaitingQuestions:
    """Those that no task asks yet, in an order that has nothing to do with what they ask."""

    def __init__(self, questions: Sequence[ReportQuestion]) -> None:
        self._asked: set[str] = set()
        self._by_absence: dict[Absence, deque[ReportQuestion]] = {reason: deque() for reason in get_args(Absence)}
        self._answered: dict[str, list[ReportQuestion]] = defaultdict(list)
        """By the report that answers."""
        self._unanswered: dict[str, list[ReportQuestion]] = defaultdict(list)
        """By a report that resembles what is asked about, and does not answer."""
        for question in sorted(questions, key=lambda each: hash_json(each.id)):
            self._by_absence[question.absence].append(question)
            for report in question.golden or question.distractors:
                (self._answered if question.golden else self._unanswered)[report].append(question)

    def take_first(self, reasons: Iterable[Absence]) -> ReportQuestion | None:
        """The first question of the first of these kinds of which any is left; no further kind is drawn."""
        left = (self._take(self._by_absence[reason]) for reason in reasons)
        return next(filter(None, left), None)

    def take_about(self, documents: Sequence[str], answered: bool) -> ReportQuestion | None:
        """A question that one of the documents answers, or one that none of them answers."""
        by_report = self._answered if answered else self._unanswered
        left = (self._take(by_report[name]) for name in documents)
        return next(filter(None, left), None)

    def _take(self, listed: "deque[ReportQuestion] | list[ReportQuestion]") -> ReportQuestion | None:
        found = next((question for question in listed if question.id not in self._asked), None)
        if found:
            self._asked.add(found.id)
        return found


def _make_task(questions: Sequence[ReportQuestion], name: str, documents: list[str]) -> ReadingTask:
    """Questions and answers a line each; what the documents do not answer is refused."""
    answers = [
        cite_document(question.answer, documents.index(question.golden[0]) + 1)
        if question.golden and question.golden[0] in documents
        else REFUSAL
        for question in questions
    ]
    golden = {report for question in questions for report in question.golden}
    return ReadingTask(
        id=name,
        family=FAMILY,
        instruction="\n".join(question.question for question in questions),
        documents=documents,
        golden=[document for document in documents if document in golden],
        output="\n".join(answers),
    )


def rank_reports(chunks: Sequence[Chunk], reports: ReportSet, k: int) -> list[list[str]]:
    """For each question the ids of the `k` reports that share its words best."""
    texts = [show_chunk(chunk.headings, chunk.text) for chunk in chunks]
    index = LexicalIndex.build(texts, [chunk.id for chunk in chunks])
    return [[hit.id for hit in index.search(question.question, k)] for question in reports.questions]


def make_questions(
    reports: ReportSet, rankings: Sequence[Sequence[str]], seed: int, top_k: int
) -> list[ReadingQuestion]:
    """Each question with its documents in every arm that has any. What a search finds stays in the search's order."""
    pairs = zip(reports.questions, rankings, strict=True)
    return [_make_question(question, list(ranking[:top_k]), seed, top_k) for question, ranking in pairs]


def _make_question(question: ReportQuestion, found: list[str], seed: int, top_k: int) -> ReadingQuestion:
    arms: dict[Arm, list[str]] = {"absent": found}
    if question.golden:
        others = shuffle(f"{seed}/{question.id}", question.distractors[:top_k])
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
