"""What a search finds, and what needs no model to answer from it: the marks that a reader's own are seen beside."""

import re
from collections.abc import Mapping, Sequence
from statistics import mean

from netllama.core.files import JsonObject
from netllama.reading.answer_judgement import is_exact, says
from netllama.reading.reading_records import ReadingQuestion
from netllama.retrieval.ranking_measures import CUTOFF, measure_rankings
from netllama.retrieval.terms import split_terms
from netllama.statistics.intervals import IntervalEstimate
from testbed.reports.report_reader import answer_question

_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")


def measure_search(
    asked: Sequence[ReadingQuestion], rankings: Sequence[Sequence[str]], texts: Mapping[str, str]
) -> JsonObject:
    """Of the questions on reports that have an answer, each with the ids that a search found, best first.

    Recall, MRR and nDCG with their intervals; what a parser answers that knows how every report is worded, and whether
    the sentence that shares most words with the question says the answer, both from the documents of `retrieved`. Empty
    where no question has an answer.
    """
    pairs = [(question, ranking) for question, ranking in zip(asked, rankings, strict=True) if question.golden]
    if not pairs:
        return {}
    found = measure_rankings([ranking[:CUTOFF] for _, ranking in pairs], [question.golden for question, _ in pairs])
    shown = [(question, [texts[name] for name in question.arms.get("retrieved", [])]) for question, _ in pairs]
    said = [
        says(find_best_sentence(question.question, documents), question.answer, question.question, question.choices)
        for question, documents in shown
    ]
    return {
        **{f"recall_at_{cutoff}": _as_numbers(estimate) for cutoff, estimate in found.recall.items()},
        "reciprocal_rank": _as_numbers(found.reciprocal_rank),
        "ndcg": _as_numbers(found.ndcg),
        "parser": round(mean(float(_parse(question, documents)) for question, documents in shown), 4),
        "best_sentence": round(mean(map(float, said)), 4),
        "questions": len(pairs),
    }


def find_best_sentence(question: str, documents: Sequence[str]) -> str:
    """Of the document that has most of the question's terms, the sentence that has most of them; the first of several.

    Its opening, which says what the document is about, counts only where nothing follows: a question repeats it.
    """
    wanted = set(split_terms(question))

    def count_terms(text: str) -> int:
        return len(wanted & set(split_terms(text)))

    title, _, text = max(documents, key=count_terms, default="").partition("\n")
    opening, *others = _SENTENCE.split(text)
    return max(others, key=count_terms, default=opening or title)


def _parse(question: ReadingQuestion, documents: Sequence[str]) -> bool:
    # The line above a report is its title, which the parser does not know.
    read = answer_question(question.question, [text.partition("\n")[2] for text in documents])
    return read is not None and is_exact(read.answer, question.answer)


def _as_numbers(estimate: IntervalEstimate) -> dict[str, float]:
    return {"value": round(estimate.value, 4), "low": round(estimate.low, 4), "high": round(estimate.high, 4)}
