"""What is said of answers from documents: who cites which, citations of what was not shown, the fixed refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.asking.document_search import describe_sources, find_citations, preview_chunk
from netllama.documents.document import Chunk
from netllama.rendering.document_texts import REFUSAL, cite_document


def make_chunk(name: str, text: str = "Some text.", headings: tuple[str, ...] = ("Note", "Section")) -> Chunk:
    return Chunk(
        id=f"notes/{name}.md#section", document=f"notes/{name}.md", headings=list(headings), text=text, tokens=9
    )


CHUNKS = [make_chunk("a"), make_chunk("b", "Other text.")]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("90 s [2]", "cites [2]"),
        ("90 s [2][1], as [2] says.", "cites [1], [2]"),
        ("90 s", "cites no document"),
        ("", "cites no document"),
        ("90 s [3]", "wrongly cites [3], of which none was shown"),
        ("90 s [0] [1] [7]", "cites [1]; wrongly cites [0], [7], of which none was shown"),
        (REFUSAL, "refuses: the documents do not say"),
        ("the documents  do not say", "refuses: the documents do not say"),
        (f"{REFUSAL} [1]", "refuses: the documents do not say; cites [1]"),
        (f"{REFUSAL} It is 90 s.", "cites no document"),
        ("```python\nprint(path[1])\n```", "cites no document"),
        ("`path[2]` is the origin [1]", "cites [1]"),
        ("```python\nprint(path[0])  # cut at the lim", "cites no document"),
    ],
)
def test_an_answer_is_told_by_what_it_cites(answer: str, said: str) -> None:
    assert describe_sources(CHUNKS, {"tuned model": answer})[-1] == f"tuned model: {said}"


def test_the_cited_documents_are_marked_with_the_models_that_cite_them() -> None:
    lines = describe_sources(CHUNKS, {"base model": "90 s [2]", "tuned model": "90 s [2] and [1]"})
    assert lines == [
        "documents shown to the models, best first:",
        "[1] notes/a.md#section  <- cited by tuned model",
        "    Note > Section",
        "    Some text.",
        "[2] notes/b.md#section  <- cited by base model and tuned model",
        "    Note > Section",
        "    Other text.",
        "base model: cites [2]",
        "tuned model: cites [1], [2]",
    ]


@given(answer=st.text(alphabet="aZ9 .\n", max_size=30), number=st.integers(1, 999))
def test_the_taught_form_of_a_citation_is_found(answer: str, number: int) -> None:
    assert find_citations(cite_document(answer, number)) == [number]


def test_a_preview_is_short_breaks_between_words_and_shows_control_characters() -> None:
    long = preview_chunk(make_chunk("a", "word\n\n" * 100))
    assert long[1].endswith("word ...")
    assert len(long[1]) <= 164
    assert preview_chunk(make_chunk("a", "\x1b[2J", headings=())) == ["\\x1b[2J"]
