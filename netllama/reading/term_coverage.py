"""How much of a question its documents speak of, by their terms alone: what needs no model."""

from collections.abc import Sequence

from netllama.retrieval.terms import split_terms


def measure_missing(question: str, documents: Sequence[str]) -> float:
    """Share of the question's terms that even the document with most of them lacks; 0 where there are none to miss."""
    asked = set(split_terms(question))
    if not asked or not documents:
        return 0.0
    return 1 - max(len(asked.intersection(split_terms(text))) for text in documents) / len(asked)
