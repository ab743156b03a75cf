"""PDF: pages into headings and paragraphs, and the files that can't be read."""

import pytest

from netllama.documents.document import TextBlock
from netllama.documents.dropped import DropError
from netllama.documents.outline import Heading, build_document
from netllama.documents.pdf_reader import read_pdf
from tests.support.pdf_files import make_pdf

BODY = """\
1 Introduction
A lamp that is lit sends one message in each second. A
neighbour that hears none for nine seconds takes it to
be dark. This is a paragraph (with brackets) which is
filled up to the margin, so that its lines are joined.
2 Messages
Kind 1 lit
Kind 2 dark""".splitlines()


def test_numbered_headings_and_filled_paragraphs_are_found() -> None:
    assert read_pdf(make_pdf([BODY])).items == [
        Heading(2, "1 Introduction"),
        TextBlock(
            "prose",
            "A lamp that is lit sends one message in each second. A neighbour that hears none for nine seconds takes it"
            " to be dark. This is a paragraph (with brackets) which is filled up to the margin, so that its lines are"
            " joined.",
        ),
        Heading(2, "2 Messages"),
        TextBlock("lines", "Kind 1 lit\nKind 2 dark"),
    ]


def test_heads_and_page_numbers_are_left_out() -> None:
    pages = [["The Lamp Book", f"Text {word} of it.", f"- {at} -"] for at, word in enumerate("abcdef", 7)]
    items = read_pdf(make_pdf(pages)).items
    text = " ".join(item.text for item in items)
    assert text.split() == [word for letter in "abcdef" for word in ("Text", letter, "of", "it.")]


def test_a_line_with_a_number_at_the_edge_of_many_pages_stays_unless_it_counts_the_pages() -> None:
    pages = [[f"Row {number * number} of lamps.", "Text."] for number in range(3, 9)]
    text = " ".join(item.text for item in read_pdf(make_pdf(pages)).items)
    assert text.count("of lamps.") == 6


def test_the_title_is_what_the_file_says() -> None:
    outline = read_pdf(make_pdf([BODY], title="Lamps"))
    assert build_document("c/x.pdf", outline).title == "Lamps"
    assert build_document("c/my-lamps.pdf", read_pdf(make_pdf([BODY]))).title == "my lamps"


def test_pages_without_text_are_told() -> None:
    outline = read_pdf(make_pdf([["One."], [], ["Three."], []]))
    assert outline.scanned_pages == (2, 4)
    assert [item.text for item in outline.items] == ["One.", "Three."]


@pytest.mark.parametrize(
    ("data", "cause", "reason"),
    [
        (make_pdf([[], []]), "scanned", r"no text on any page \(2\)"),
        (make_pdf([BODY], encrypted=True), "encrypted", "encrypted with a password"),
        (make_pdf([BODY])[:400], "broken", "not a PDF that can be read"),
        (b"%PDF-1.7\nrubbish", "broken", "not a PDF that can be read"),
        (b"just text", "broken", "not a PDF that can be read"),
    ],
)
def test_a_file_that_can_not_be_read_says_why(data: bytes, cause: str, reason: str) -> None:
    with pytest.raises(DropError, match=reason) as caught:
        read_pdf(data)
    assert caught.value.cause == cause
