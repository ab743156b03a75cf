"""The project's own terms find the note that answers a question; the floors are a little below docs/retrieval.md."""

import pytest

from netllama.retrieval.lexical_index import LexicalIndex
from tests.support.corpus_search import list_passages, list_searches, measure_search


@pytest.mark.parametrize("unit", ["note", "section"])
def test_the_note_that_answers_is_among_the_first(unit: str) -> None:
    passages, searches = list_passages(unit), list_searches()
    assert len(searches) > 700
    index = LexicalIndex.build((passage.text for passage in passages), [passage.id for passage in passages])
    quality = measure_search(passages, searches, index.search)
    assert quality.recall[1].value >= 0.85
    assert quality.recall[3].value >= 0.96
    assert quality.recall[10].value >= 0.985
    assert quality.reciprocal_rank.value >= 0.91
