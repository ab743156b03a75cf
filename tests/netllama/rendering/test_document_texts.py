"""The one form of a question with documents: no text in a document opens another, and nothing else changes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.rendering.document_texts import TASK, cite_document, phrase_with_documents

line = st.sampled_from(["[1] A. Author", "[12]", "see [3].", "x = a[0]", "", "  [2] kept", "RFC 4271"]) | st.text(
    "ab[1] ", max_size=9
)
document = st.lists(line, min_size=1, max_size=5).map("\n".join)


@given(st.lists(document, min_size=1, max_size=4))
def test_numbers_that_begin_a_line_are_those_of_the_documents(documents: list[str]) -> None:
    prompt = phrase_with_documents("Which one?", documents)
    body = prompt.removesuffix(f"\n\n{TASK}\n\nWhich one?")
    assert body != prompt
    assert [int(found) for found in re.findall(r"(?m)^\[(\d+)\]", body)] == list(range(1, len(documents) + 1))


@given(st.lists(document, min_size=1, max_size=4))
def test_a_document_is_shown_word_for_word(documents: list[str]) -> None:
    body = phrase_with_documents("Which one?", documents).removesuffix(f"\n\n{TASK}\n\nWhich one?")
    parts = re.split(r"(?m)^\[\d+\] ", body)[1:]
    assert [part.split() for part in parts] == [text.split() for text in documents]


def test_the_form_is_this_one() -> None:
    assert phrase_with_documents("Who?", ["T\none", "two [2]\n[2] Rekhter"]) == (
        f"Who?\n\n[1] T\none\n\n[2] two [2]\n [2] Rekhter\n\n{TASK}\n\nWho?"
    )
    assert phrase_with_documents("Who?", []) == "Who?"
    assert cite_document("AS64500", 3) == "AS64500 [3]"


@pytest.mark.parametrize("text", ["[1] x", "\n[1] x", "a\n\n[1] x"])
def test_a_first_line_that_is_numbered_is_moved_too(text: str) -> None:
    assert re.findall(r"(?m)^\[(\d+)\]", phrase_with_documents("Who?", [text])) == ["1"]
