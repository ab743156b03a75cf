"""Documents for questions: what is learned to be read, and what base and tuned model are asked with.

Reads  data/corpus/, data/splits/train.jsonl, data/questions/, models/tokenizer/, params `retrieve`
Writes data/retrieved/train.jsonl (tasks with documents, for training), val.jsonl (questions on other networks, by which
       evaluate learns how readily to refuse), questions.jsonl (questions with their documents in each arm),
       chunks.jsonl (the text of all these documents), dropped.jsonl (files that were not read, and why),
       metrics/retrieve.json
Run    python -m stages.retrieve

Documents are chunks of the corpus, found by their words, and reports on simulated networks (testbed/reports/), whose
questions have exact answers. Training, validation and test come from different networks.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from netllama.core.errors import StageError, run_stage
from netllama.core.files import JsonObject, load_all, write_findings
from netllama.core.metrics import write_metrics
from netllama.core.params import View
from netllama.core.records import Instruction, Question, load_instructions, load_questions
from netllama.core.retrieve_section import RetrieveParams
from netllama.documents.chunk_file import iter_chunks, write_chunks
from netllama.documents.corpus_folders import find_corpus_folders
from netllama.documents.document import Chunk, show_chunk
from netllama.documents.dropped import measure_dropped_share
from netllama.documents.indexed_corpus import IndexedCorpus, index_corpus
from netllama.documents.shown_headings import CountTokens
from netllama.documents.token_counting import load_token_counter
from netllama.reading import note_material, report_material
from netllama.reading.reading_records import ReadingQuestion, ReadingTask
from netllama.reading.search_quality import measure_search
from netllama.retrieval.ranking_measures import CUTOFF
from testbed.reports.report_records import ReportSet
from testbed.reports.report_set import make_report_set

CORPUS = Path("data/corpus")
TRAIN_SPLIT = Path("data/splits/train.jsonl")
QUESTIONS = Path("data/questions")
TOKENIZER = Path("models/tokenizer")
TRAIN = Path("data/retrieved/train.jsonl")
VAL = Path("data/retrieved/val.jsonl")
ASKED = Path("data/retrieved/questions.jsonl")
CHUNKS = Path("data/retrieved/chunks.jsonl")
DROPPED = Path("data/retrieved/dropped.jsonl")
METRICS = Path("metrics/retrieve.json")
NO_TASKS = "no task has documents: retrieve.train_tasks and retrieve.rag_share are 0"
NO_VALIDATION = "no question is asked in validation: no task on reports is trained on, or retrieve.val_networks is 0"


class Needs(View):
    """The params of this stage."""

    retrieve: RetrieveParams


def open_corpus(params: RetrieveParams) -> IndexedCorpus:
    """StageError where too much of it can't be read."""
    corpus = index_corpus(find_corpus_folders(CORPUS, params.corpus), TOKENIZER, params.chunk_tokens, params.dense)
    lost = [dropped for dropped in corpus.dropped if dropped.is_failure]
    documents = sum(corpus.summary.documents.values())
    if measure_dropped_share(corpus.dropped, documents) > params.max_dropped_share:
        raise StageError(
            f"{len(lost)} of {len(lost) + documents} files can't be read, above retrieve.max_dropped_share "
            f"{params.max_dropped_share}: {lost[0]}; all are in {corpus.list_of_dropped}"
        )
    print(f"corpus: {documents} documents, {corpus.summary.chunks} chunks, {len(corpus.dropped)} files dropped")
    return corpus


def ask_of_reports(
    reports: ReportSet, params: RetrieveParams, count_tokens: CountTokens
) -> tuple[list[Chunk], list[list[str]], list[ReadingQuestion]]:
    """(the reports as chunks, what a search finds for each question, the questions with the documents of each arm)."""
    chunks = report_material.make_chunks(reports.reports, count_tokens)
    rankings = report_material.rank_reports(chunks, reports, max(CUTOFF, params.top_k))
    return chunks, rankings, report_material.make_questions(reports, rankings, params.seed, params.top_k)


def select_chunks(
    chunks: Iterable[Chunk], tasks: Iterable[ReadingTask], asked: Iterable[ReadingQuestion]
) -> list[Chunk]:
    """Those that are shown with any task or question."""
    shown = {name for task in tasks for name in task.documents}
    shown |= {name for question in asked for names in question.arms.values() for name in names}
    return sorted((chunk for chunk in chunks if chunk.id in shown), key=lambda chunk: chunk.id)


def load_tasks_and_questions() -> tuple[list[Instruction], list[Question]]:
    """Those to find notes for; the error lists what is wrong in all of their files."""
    loads: list[Callable[[], Any]] = [partial(load_instructions, TRAIN_SPLIT), partial(load_questions, QUESTIONS)]
    tasks, questions = load_all(loads)
    return tasks, questions


def main() -> None:
    needs = Needs.load()
    params = needs.retrieve
    count_tokens = load_token_counter(TOKENIZER)
    tasks: list[ReadingTask] = []
    asked: list[ReadingQuestion] = []
    chunks: list[Chunk] = []
    details: JsonObject = {}
    networks = params.train_networks if params.train_tasks else 0
    learned = make_report_set(params.seed, networks, "train", report_material.PER_TYPE, params.report_tokens)
    chunks += report_material.make_chunks(learned.reports, count_tokens)
    tasks += report_material.make_tasks(learned, params.train_tasks, params.seed, params.top_k, params.oracle_share)
    validation: list[ReadingQuestion] = []
    if networks and params.val_networks:
        held = make_report_set(params.seed, params.val_networks, "val", most_tokens=params.report_tokens)
        unseen, _, validation = ask_of_reports(held, params, count_tokens)
        chunks += unseen
    tested = make_report_set(params.seed, params.test_networks, "test", most_tokens=params.report_tokens)
    if tested.questions:
        unseen, rankings, on_reports = ask_of_reports(tested, params, count_tokens)
        texts = {chunk.id: show_chunk(chunk.headings, chunk.text) for chunk in unseen}
        details["reports"] = measure_search(on_reports, rankings, texts)
        chunks += unseen
        asked += on_reports
    corpus = open_corpus(params) if params.corpus else None
    if corpus:
        notes = note_material.NoteSearch(corpus)
        rows, questions = load_tasks_and_questions()
        asked += note_material.make_questions(questions, notes, params.top_k)
        tasks += note_material.make_tasks(rows, notes, params.seed, params.top_k, params.rag_share, params.oracle_share)
    of_corpus: Iterator[Chunk] = iter_chunks(corpus.folder / "chunks.jsonl") if corpus else iter(())
    write_findings(TRAIN, (task.model_dump() for task in tasks), none=NO_TASKS)
    write_findings(VAL, (question.model_dump() for question in validation), none=NO_VALIDATION)
    write_findings(ASKED, (question.model_dump() for question in asked), none="no question has documents")
    write_chunks(CHUNKS, select_chunks([*chunks, *of_corpus], tasks, [*validation, *asked]))
    dropped = corpus.dropped if corpus else []
    write_findings(DROPPED, (each.model_dump() for each in dropped), none="every file of the corpus was read")
    counts = {"training_tasks": len(tasks), "questions": len(asked), "dropped_files": len(dropped)}
    write_metrics(METRICS, {}, {**counts, **details})
    print(f"{len(tasks)} tasks with documents to train on -> {TRAIN}; {len(asked)} questions with documents -> {ASKED}")


if __name__ == "__main__":
    run_stage(main, __doc__)
