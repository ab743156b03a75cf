"""Pages into lines: what only paper needs goes, and nothing else, whatever number a line ends in."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.documents.page_layout import join_pages, split_pages


def read(text: str) -> list[str]:
    return join(split_pages(text))


def join(pages: Sequence[str]) -> list[str]:
    """The lines of all pages, without empty ones."""
    return [line for line in join_pages(pages) if line]


def make_pages(head: str, count: int) -> list[str]:
    """`{}` in the head is the page's number."""
    return [f"{head.replace('{}', str(number))}\n\nText {number}." for number in range(1, count + 1)]


def list_texts(count: int) -> list[str]:
    return [f"Text {number}." for number in range(1, count + 1)]


# --- footers


def test_a_reference_to_a_page_of_a_book_is_no_footer() -> None:
    lines = ["This is explained in Stevens [page 12]", "and the keepalive timer in Tanenbaum [page 300]"]
    for text in (lines, [*lines, "and again in Stevens [page 13]"], [f"Of numbers see [page {'9' * 5000}]"] * 3):
        assert read("\n".join(text)) == text


@given(st.lists(st.integers(1, 4), max_size=8))
def test_footers_are_dropped_only_if_they_count_the_pages(numbers: list[int]) -> None:
    lines = [line for at, number in enumerate(numbers) for line in (f"Text {at}.", f"Writer [Page {number}]")]
    counts = len(numbers) >= 3 and all(after == before + 1 for before, after in pairwise(numbers))
    assert read("\n".join(lines)) == (lines[::2] if counts else lines)


def test_front_pages_may_have_roman_numbers() -> None:
    numbers = ["i", "ii", "1", "2", "3"]
    assert read("\n".join(f"Text {number}.\nWriter [Page {number}]" for number in numbers)) == [
        f"Text {number}." for number in numbers
    ]


def test_with_form_feeds_two_footers_are_enough() -> None:
    assert read("Text a.\n\nWriter [Page 1]\n\fText b.\n\nWriter [Page 2]\n") == ["Text a.", "Text b."]
    assert read("See Stevens [page 12]\n\fand Tanenbaum [page 300]\n") == [
        "See Stevens [page 12]",
        "and Tanenbaum [page 300]",
    ]


def test_without_form_feeds_two_footers_are_enough_if_a_running_head_stands_below() -> None:
    head = "RFC 99999              Lamps              April 2031"
    text = f"Text a.\n\nWriter [Page 1]\n\n{head}\n\nText b.\n\nWriter [Page 2]\n"
    assert read(text) == ["Text a.", "Text b."]
    for other in (text.replace(head, "More."), text.replace("[Page 2]", "[Page 3]")):
        assert len(read(other)) == 5


# --- running lines


@pytest.mark.parametrize("count", [3, 4, 5, 8])
@pytest.mark.parametrize(
    "head",
    [
        *("Exercise {}", "Chapter {}:", "Lab {}\n\nbody Lab {}", "Problem 1.2.{}", "3.{}", "{}. Solve what follows:"),
        *("Results of 202{}", "Results of the whole year 202{}", "Question {} of the last exam"),
    ],
)
def test_a_numbered_heading_on_each_page_stays(head: str, count: int) -> None:
    pages = make_pages(head, count)
    assert join(pages) == [line for page in pages for line in page.split("\n") if line]


@pytest.mark.parametrize(
    "head", ["{}", "- {} -", "– {} –", "| {}", "[{}]", "Page {}", "page {} of 12", "{}/12", "PAGE {} OF 12 |"]
)
def test_a_page_number_on_three_pages_is_dropped(head: str) -> None:
    assert join(make_pages(head, 3)) == list_texts(3)
    marked = head not in ("{}", "[{}]")
    assert len(join(make_pages(head, 2))) == (2 if marked else 4)
    assert len(join(make_pages(head, 3)[1:])) == 4  # the first of two pages is page 1


@pytest.mark.parametrize(
    "head", ["The Lamp Book {}", "{} The Lamp Book", "RFC 99999 Lamps - {}", "The Lamp Book | p. {}"]
)
def test_a_running_head_with_a_page_number_is_dropped_from_five_pages_on(head: str) -> None:
    assert join(make_pages(head, 5)) == list_texts(5)
    assert len(join(make_pages(head, 4))) == 8


def test_of_two_pages_the_second_loses_the_head_of_the_first() -> None:
    pages = [
        "The Lamp Book\n\nText 1.\n\nAll rights are reserved.",
        "THE  LAMP BOOK\nText 2.\nAll rights are reserved.",
    ]
    for more in ([], [""]):  # a form feed may end the last page
        assert join([*pages, *more]) == ["The Lamp Book", "Text 1.", "All rights are reserved.", "Text 2."]
    for line in ("Lamps", "Lamp Book", "}", "The Lamp Book {}"):
        assert len(join(make_pages(line, 2))) == 4


def test_the_heads_of_left_and_right_pages_are_dropped() -> None:
    pages = [f"{at} The Lamp Book\nText {at}." if at % 2 else f"On Poles and Wires {at}\nText {at}." for at in range(9)]
    assert len(join(pages[:8])) == 16  # each of them is on four pages
    assert join([*pages, "9 The Lamp Book\nText 9."]) == [f"Text {at}." for at in range(10)]


def test_a_year_is_no_page_number() -> None:
    assert join(make_pages("The Lamp Book, January 2031", 3)) == list_texts(3)
    pages = [f"The Lamps of the Year {year}\nText." for year in range(2020, 2026)]
    assert "The Lamps of the Year 2022" in join(pages)


def test_a_page_loses_one_line_with_a_page_number_at_each_edge() -> None:
    pages = [f"{at}\n{at}\nText.\n{at}\n{at}" for at in range(3)]
    assert join(pages) == [line for at in range(3) for line in (f"{at}", "Text.", f"{at}")]


edges = st.sampled_from(["7", "8", "9", "The Lamp Book", "The Lamp Book 7"])


@given(st.lists(st.lists(edges, min_size=1, max_size=2), min_size=3, max_size=12))
def test_no_page_is_stripped_empty(pages: Sequence[Sequence[str]]) -> None:
    assert len(join(["\n".join(page) for page in pages])) >= len(pages)


@given(
    st.lists(st.sampled_from(["Exercise", "Chapter", "Results of", "Case study"]), min_size=1, max_size=12), st.data()
)
def test_no_heading_of_one_or_two_words_and_a_number_is_lost(names: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(1, 2030))
    pages = [f"{name} {start + at}\n\nText {at}." for at, name in enumerate(names)]
    assert " ".join(join_pages(pages)).split() == " ".join(pages).split()
