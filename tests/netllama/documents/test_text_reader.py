"""Plain text: an RFC-like memo, a 3GPP-like specification, notes. All of it in our own words."""

import re
import textwrap
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.documents.document import Document
from netllama.documents.numbered_headings import NumberedLine, choose_rising, match_numbered_line
from netllama.documents.outline import Outline, build_document
from netllama.documents.text_reader import read_plain_text, read_printed_pages

ART = """\
       0                   1
       0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
      |     Kind      |    Length     |
      +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+"""
ABNF = """\
      lamp   = "on" / "off"
      street = 1*lamp"""
PAGES = [
    """\



Working Group of Lamps                                         A. Writer
Request for Comments: 99999                                    B. Author
Category: Informational                                      April 2031


                    The Lamp Signalling Protocol (LSP)
                          for Small Streets

Abstract

   This memo says how lamps in a street tell each other whether they are
   lit.

Table of Contents

   1. Introduction ....................................................1
      1.1. Words Used Here ............................................1
   2. Message Format ..................................................2
      2.1. A Heading That Goes on in a Second Line Since It Is Much Too
           Long .......................................................2
   10. Timers .........................................................2
   Appendix A.  Grammar ...............................................3
   Acknowledgements ...................................................3


Writer                        Informational                     [Page 1]
""",
    """\
RFC 99999                   Lamp Signalling                   April 2031


1.  Introduction

   A lamp that is lit sends one message in each second.  A neighbour that
   hears none for nine seconds takes it to be dark, and says so to its
   own neighbour, which does the same, until the end of the street is

Writer                        Informational                     [Page 2]
""",
    f"""\
RFC 99999                   Lamp Signalling                   April 2031


   reached.  Streets without lamps are out of the scope of this well-
   behaved memo.

1.1.  Words Used Here

   Lamp
      What gives light.

   Items are these:

   o  a pole, on which the lamp is fixed, and which is usually made of
      steel

   1.  not a heading, since it is indented

2.  Message Format

{ART}

   Kind is 1 for lit lamps, see
   2.1.

2.1.  A Heading That Goes on in a Second Line Since It Is Much Too
      Long

   Text.

10.  Timers

   The timer takes nine seconds.

Writer                        Informational                     [Page 3]
""",
    f"""\
RFC 99999                   Lamp Signalling                   April 2031

Appendix A.  Grammar

{ABNF}

A.1.  More of It

   None.

Acknowledgements

   Thanks.

Author's Address

   A. Writer
   Lamp Street 1
""",
]
TITLE = "RFC 99999: The Lamp Signalling Protocol (LSP) for Small Streets"


def read(text: str, path: str = "c/spec.txt") -> Document:
    return build_document(path, read_plain_text(text))


def headings_of(document: Document) -> list[str]:
    return [" > ".join(section.headings[1:]) for section in document.sections[1:]]


def blocks_under(document: Document, heading: str) -> list[tuple[str, str]]:
    (section,) = [section for section in document.sections if section.headings[-1] == heading]
    return [(block.kind, block.text) for block in section.blocks]


def check_memo(document: Document) -> None:
    assert document.title == TITLE
    assert headings_of(document) == [
        "Abstract",
        "1. Introduction",
        "1. Introduction > 1.1. Words Used Here",
        "2. Message Format",
        "2. Message Format > 2.1. A Heading That Goes on in a Second Line Since It Is Much Too Long",
        "10. Timers",
        "Appendix A. Grammar",
        "Appendix A. Grammar > A.1. More of It",
        "Acknowledgements",
        "Author's Address",
    ]


def test_an_rfc_gives_the_headings_of_its_own_table_of_contents() -> None:
    check_memo(read("\n".join(PAGES)))


def test_form_feeds_and_windows_line_ends_change_nothing() -> None:
    plain = read("\n".join(PAGES))
    assert read("\n\f\n".join(PAGES)) == plain
    assert read("\f".join(PAGES)) == plain


def test_a_paragraph_over_a_page_break_is_whole_and_nothing_of_the_paper_is_left() -> None:
    document = read("\n\f".join(PAGES))
    assert blocks_under(document, "1. Introduction") == [
        (
            "prose",
            "A lamp that is lit sends one message in each second. A neighbour that hears none for nine seconds takes it"
            " to be dark, and says so to its own neighbour, which does the same, until the end of the street is"
            " reached. Streets without lamps are out of the scope of this well-behaved memo.",
        )
    ]
    text = str(document)
    assert "[Page" not in text
    assert "Lamp Signalling  " not in text
    assert "...." not in text


SHORT_MEMO = """\
Network Working Group                                          A. Writer
Request for Comments: 99999                                    B. Author


{title}

Abstract

   This memo says how lamps in a street tell each other whether they are
   lit.

Writer                        Informational                     [Page 1]

RFC 99999                   Lamp Signalling                   April 2031

1.  Introduction

   A lamp that is lit sends one message in each second.

Writer                        Informational                     [Page 2]
"""


@pytest.mark.parametrize(
    "title",
    [
        "  The Signalling of Lamps, Poles, Wires and Switches of Small Streets\n"
        "                      at Night with Large Squares",
        "     Signalling between Lamps, Poles, Wires and Switches at Night\n"
        "       in Streets, Squares, Yards and Gardens of Various Sizes",
        "                           The Lamps",
    ],
)
def test_the_title_of_a_memo_of_two_pages_may_fill_its_lines(title: str) -> None:
    for text in (SHORT_MEMO, SHORT_MEMO.replace("Request for Comments: 99999", "Internet-Draft             ")):
        document = read(text.format(title=title))
        name = "" if "Internet" in text else "RFC 99999: "
        assert document.title == name + " ".join(title.split())
        assert headings_of(document) == ["Abstract", "1. Introduction"]
        assert "[Page" not in str(document)
        assert "April" not in str(document)


def test_art_and_grammars_keep_their_lines() -> None:
    document = read("\f".join(PAGES))
    lines = [line.removeprefix("      ") for line in ART.split("\n")]
    assert blocks_under(document, "2. Message Format")[0] == ("code", "\n".join(lines))
    assert blocks_under(document, "Appendix A. Grammar") == [("code", 'lamp   = "on" / "off"\nstreet = 1*lamp')]
    assert blocks_under(document, "1.1. Words Used Here")[0] == ("lines", "Lamp\n   What gives light.")


def test_an_rfc_without_pages_and_page_numbers_reads_the_same() -> None:
    """As the RFC editor publishes them since 2019."""
    text = "\n".join(PAGES)
    text = re.sub(r"\n*Writer .*\[Page \d\]\n+(RFC 99999.*\n*)?", "\n\n", text)
    text = re.sub(r"street is\n+", "street is\n", re.sub(r" ?\.{3,}\d", "", text))
    assert "Page" not in text
    check_memo(read(text))
    assert "Streets without lamps" in blocks_under(read(text), "1. Introduction")[0][1]


def test_what_the_table_of_contents_lists_is_read_once() -> None:
    words = str([section.headings for section in read("\f".join(PAGES)).sections]) + str(
        [block.text for section in read("\f".join(PAGES)).sections for block in section.blocks]
    )
    assert words.count("Acknowledgements") == 1


SPECIFICATION = """\
3GPP TS 99.331 V1.2.0 (2031-04)

Contents

Foreword\t4
1\tScope\t5
5\tProcedures\t6
5.3.5.1\tGeneral\t7
5.3.5.10a\tReconfiguration with lamps\t8
Annex A (normative):\tConstants\t9

Foreword

This specification was written for a test.

1\tScope

The present document says how a lamp asks for power.
It is 5 MHz wide at most.

5\tProcedures

5.3\tConnection control

5.3.5\tReconfiguration

5.3.5.1\tGeneral

The lamp shall:

1>\tif the switch is on:

2>\tglow;

5.3.5.9\tVoid

5.3.5.10\tFailure

16 QAM

5 Session lamps

5.3.5.10a\tReconfiguration with lamps

See clause 5.3.5.1.

6\tVariables

Annex A (normative):
Constants

A.1\tGeneral

C1 is 3.

Annex B (informative): Change history

None.
"""


def test_a_3gpp_specification_gives_its_clauses_and_annexes() -> None:
    for text in (SPECIFICATION, SPECIFICATION.replace("\t", "  "), re.sub(r"\n\n", "\n", SPECIFICATION)):
        document = read(text)
        assert document.title == "3GPP TS 99.331 V1.2.0 (2031-04)"
        assert headings_of(document) == [
            "1 Scope",
            "5 Procedures",
            "5 Procedures > 5.3 Connection control",
            "5 Procedures > 5.3 Connection control > 5.3.5 Reconfiguration",
            "5 Procedures > 5.3 Connection control > 5.3.5 Reconfiguration > 5.3.5.1 General",
            "5 Procedures > 5.3 Connection control > 5.3.5 Reconfiguration > 5.3.5.9 Void",
            "5 Procedures > 5.3 Connection control > 5.3.5 Reconfiguration > 5.3.5.10 Failure",
            "5 Procedures > 5.3 Connection control > 5.3.5 Reconfiguration > 5.3.5.10a Reconfiguration with lamps",
            "6 Variables",
            "Annex A (normative): Constants",
            "Annex A (normative): Constants > A.1 General",
            "Annex B (informative): Change history",
        ]
        assert "1>" in str(document)
        assert "16 QAM" in str(document)


@pytest.mark.parametrize("words", [3, 12, 60])
@pytest.mark.parametrize("gap", ["", "\n"])
def test_clauses_are_found_however_many_empty_lines_there_are(words: int, gap: str) -> None:
    body = f"The lamp {'glows ' * words}then.\n" * 3
    titles = ["4\tGeneral", "4.1\tPoles", "4.1.1\tWires", "Annex A (informative):\tLamps"]
    text = "3GPP TS 99.331\n\n" + "".join(f"{title}\n{body}{gap}" for title in titles)
    assert [section.headings[-1] for section in read(text).sections[1:]] == [" ".join(t.split()) for t in titles]
    wide = "".join(f"{title}\n{body}{gap}" for title in ["4 General", "4.1 Poles", "4.1.1  Wires"])
    if words == 60:  # a line is a paragraph
        assert headings_of(read(wide))[-1] == "4 General > 4.1 Poles > 4.1.1 Wires"


URL = f"https://lamps.example/{'streets/' * 14}"
STEPS = [
    f"{at}. Log in to the lamp with number {at}\n   and then wait for the others{' in it to answer' * (at % 2)}."
    for at in range(1, 9)
]


@pytest.mark.parametrize("gap", ["\n", "\n\n"])
def test_steps_of_a_text_with_two_long_addresses_are_no_clauses(gap: str) -> None:
    filled = "A lamp of the street is set up in these steps, which take some\nminutes each, and a pole.\n"
    text = f"Lamps\n\n{filled}\n{URL}\n\n{filled}\n{gap.join(STEPS)}\n\n{filled}\n{URL}\n"
    assert headings_of(read(text)) == []


def test_lines_between_long_paragraphs_are_no_clauses_if_they_stand_together() -> None:
    long = "A line is a paragraph here, which tells of lamps. " * 9
    assert headings_of(read(f"Lamps\n\n{long}\n\n10 Gigabit ports are used\n11 Routers run IS-IS\n\n{long}\n")) == []
    assert headings_of(read(f"Lamps\n\n{long}\n\n1. Ports\n{long}\n\n2. Routers\n{long}\n")) == [
        "1. Ports",
        "2. Routers",
    ]


def test_rows_with_tabs_are_no_clauses() -> None:
    text = f"4\tKinds\n\n{'Kinds of lamps.' * 9}\n\n1\tLit\t5\n2\tDark\t6\n\n4.1\tPoles\n\nTall.\n5\tWires\n\nLong.\n"
    assert headings_of(read(text)) == ["4 Kinds", "4 Kinds > 4.1 Poles", "5 Wires"]


def test_a_note_with_underlined_headings() -> None:
    document = read("Lamps\n=====\n\nText.\n\nPoles\n-----\n\nMore.\n\nWires\n-----\n\na -- b\n", "c/x.txt")
    assert document.title == "Lamps"
    assert headings_of(document) == ["Poles", "Wires"]


def test_a_plain_note_has_its_first_line_as_title_or_its_name() -> None:
    assert read("Lamps at night\n\nThey are lit.\n").title == "Lamps at night"
    assert read("They are lit.\n\nAlways.\n", "c/at-night.txt").title == "at night"
    assert read("A line alone\n", "c/at_night.txt").title == "at night"
    assert read("- lit\n\n- dark\n", "c/x.txt").title == "x"


def test_a_list_is_no_row_of_headings() -> None:
    document = read("How to light a lamp\n\n1. Climb the pole.\n\n2. Light it.\n\nThe 3 poles are tall.\n\n5 MHz\n")
    assert headings_of(document) == []


def test_a_sentence_with_a_number_at_the_margin_of_an_indented_text_is_no_heading() -> None:
    terms = (
        "1. Whoever lights a lamp of this street in the night has to put it out in\n   the morning, whatever comes.\n"
    )
    text = "Terms\n\n" + "   An indented text.\n\n" * 9 + terms + "\n2. Lamps.\n\n   More of it.\n"
    assert headings_of(read(text)) == ["Terms", "2. Lamps."]


def test_a_line_that_ends_early_is_not_joined_to_the_next() -> None:
    prose = "One long line of a paragraph that is filled up to the margin of its\ntext, and ends here.\n"
    document = read(f"Title\n\n{prose * 6}\nred\ngreen\nblue\n\n- a\n- b\n")
    assert [(block.kind, block.text) for block in document.sections[0].blocks][-2:] == [
        ("lines", "red\ngreen\nblue"),
        ("list", "- a\n- b"),
    ]


# --- the table of contents

LIST = "  1. hostname core1 is set\n  2. neighbor 10.0.0.1 remote-as 65001\n  3. timers bgp 30 90"


def test_a_list_below_the_word_contents_stays() -> None:
    document = read(f"Router config backup\n\nContents:\n\n{LIST}\n\nUse it with care.")
    assert [block.text for block in document.sections[0].blocks] == [
        "Contents:",
        LIST.replace("  ", ""),
        "Use it with care.",
    ]


PAGED = ["  Type      1", "Length      2", "1\tMast\t9", "Bulbs ...... 7", "  3. Wire     12"]


@pytest.mark.parametrize("word", ["Contents", "Contents:", "TABLE OF CONTENTS"])
@pytest.mark.parametrize("rows", [PAGED, PAGED[:2], PAGED[3:], PAGED[3:4]])
def test_a_list_whose_lines_end_in_numbers_stays_unless_its_words_recur(word: str, rows: Sequence[str]) -> None:
    below = "\n\n".join(f"{line.split()[0]} and {line.split()[1]} are needed." for line in rows)
    text = "\n".join(["What is in the box", "", word, "", *rows, "", below, ""])
    document = read(text)
    found = [*document.title.split(), *(word for section in document.sections for word in section.headings[-1].split())]
    found += [word for section in document.sections for block in section.blocks for word in block.whole.split()]
    assert Counter(text.split()) - Counter(found) == Counter()


def test_fields_with_a_description_each_stay_if_their_numbers_do_not_rise() -> None:
    fields = "  Type      9\n  Length    4\n  Value     8\n  End       1"
    below = "\n\n".join(f"{name}\nIt is said here." for name in ("Type", "Length", "Value", "End"))
    assert "Length    4" in str(read(f"A message\n\nContents\n\n{fields}\n\n{below}\n"))


@pytest.mark.parametrize("number", ["", "{}. ", "{}  "])
@pytest.mark.parametrize("leader", [" ........ ", "\t", "     ", " . . . . . "])
def test_a_table_of_contents_goes_even_if_it_is_the_second_of_that_name(number: str, leader: str) -> None:
    names = ["Poles and masts", "Wires", "Lamps", "Streets"]
    entries = [f"{number.format(at)}{name}{leader}{at * 2}" for at, name in enumerate(names, 1)]
    sections = "\n".join(f"{at} {name}\n\nText {at}.\n" for at, name in enumerate(names, 1))
    entries += ["Figure 1 A pole" + leader + "1", "Figure 2 A wire" + leader + "2"]
    text = "\n".join(["Lamps at night", "", "Contents:", "", "  red     5", "", "Contents", "", *entries, "", sections])
    document = read(text)
    assert headings_of(document) == [f"{at} {name}" for at, name in enumerate(names, 1)]
    assert [block.text for block in document.sections[0].blocks] == ["Contents:", "red     5"]


@pytest.mark.parametrize(
    ("entry", "heading"),
    [
        ("1 Introduction", "Chapter 1. Introduction"),
        ("1 Introduction", "1 - Introduction"),
        ("1. Introduction", "Chapter 1: Introduction"),
        ("Introduction", "SECTION 1 — Introduction"),
        ("1 Introduction", "I. Introduction"),
        ("A Foo", "A. Foo"),
        ("A. Foo", "A Foo"),
        ("Foo", "Appendix A. Foo"),
        ("Annex A (normative):\tFoo", "Annex A (normative):\nFoo"),
    ],
)
def test_an_entry_and_its_heading_may_write_the_number_otherwise(entry: str, heading: str) -> None:
    text = f"Lamps\n\nContents\n\n{entry} ........ 1\n\n{heading}\n\nText.\n\nLast lines.\n"
    assert "Contents" not in str(read(text))
    assert "........" not in str(read(text))


@pytest.mark.parametrize("page", ["", " ....... 7"])
def test_what_stands_below_the_table_of_contents_of_an_indented_text_stays(page: str) -> None:
    contents = f"Contents\n\n   1. Poles{page}\n   2. Wires{page}\n"
    below = "   An indented paragraph.\n\n   And another.\n\n1. Poles\n\n   Tall.\n\n2. Wires\n\n   Long.\n"
    document = read(f"Lamps\n\n{contents}\n{below}")
    assert headings_of(document) == ["Lamps", "1. Poles", "2. Wires"]
    assert blocks_under(document, "Lamps") == [("prose", "An indented paragraph."), ("prose", "And another.")]


def test_an_entry_without_a_page_is_one_if_a_heading_begins_with_its_words() -> None:
    entries = "  1. Poles\n  2. Wires of Copper and\n     of Steel\n  3. LAMPS\n"
    titles = ["1. Poles", "2. Wires of Copper and of Steel", "3. Lamps"]
    sections = "\n".join(f"{title.replace(' ', '  ', 1)}\n\nText of it.\n" for title in titles)
    document = read(f"Streets\n\nContents\n\n{entries}\n{sections}")
    assert headings_of(document) == titles
    assert document.sections[0].blocks == ()
    sections = sections.replace("Poles", "Polestars").replace("Copper and of", "Copper or of").replace("3.  ", "4.  ")
    kept = read(f"Streets\n\nContents\n\n{entries}\n{sections}").sections[0].blocks
    assert [block.text for block in kept] == ["Contents", textwrap.dedent(entries).rstrip()]


@given(st.lists(st.sampled_from(["  1. lit", "  2. dark", "   more", "", "plain", "A. Lamp", *PAGED]), max_size=12))
def test_no_line_below_the_word_contents_is_lost_if_none_is_a_heading(lines: list[str]) -> None:
    text = "\n".join(["A note", "", "Contents:", "", *lines, "", "End."])
    document = read(text)
    found = [document.title] if document.title != "spec" else []
    for section in document.sections:
        found += [*section.headings[1:][-1:], *(block.whole for block in section.blocks)]
    assert " ".join(found).split() == text.split()


# --- the numbers of headings


def number(texts: Sequence[str]) -> list[NumberedLine]:
    return [found for at, text in enumerate(texts) if (found := match_numbered_line(at, text))]


def test_numbers_compare_part_by_part() -> None:
    texts = ["9 A", "10 B", "10.2 C", "10.10 D", "10.10a E", "10.11 F", "Annex A: G", "A.1 H", "Annex B: I"]
    assert [found.text for found in choose_rising(number(texts))] == texts


def test_rows_of_a_table_and_a_table_of_contents_fall_out() -> None:
    texts = ["1 Scope", "2 Terms", "2.1 General", "1 Scope", "2 Terms", "7 Lamps", "3 Poles", "2.1 General", "3 End"]
    assert [found.line for found in choose_rising(number(texts))] == [3, 4, 7, 8]


ROWS = ["1 Lit", "2 Dark", "3 Dim", "4 Blinking", "5 Off", "6 Broken"]


def print_parts(parts: Sequence[Sequence[str]]) -> Outline:
    return read_printed_pages(["\n".join(line for part in parts for line in part)])


@pytest.mark.parametrize("rows", [ROWS[:2], ROWS[:3], ROWS, ROWS[3:], ROWS[1::2]])
@pytest.mark.parametrize("chapter", [1, 2, 3])
def test_rows_that_count_are_no_chapters(rows: Sequence[str], chapter: int) -> None:
    chapters = ["1 Introduction", "2 Messages", "3 Timers"]
    parts = [[title, "Some text of it is here."] for title in chapters]
    parts[chapter - 1] += ["Kind and meaning:", *rows, "More text of it."]
    assert headings_of(build_document("c/x.pdf", print_parts(parts))) == chapters
    spaced = "\n\n".join(line for part in parts for line in part)
    assert headings_of(read(f"Lamps\n\n{spaced}\n")) == chapters


@pytest.mark.parametrize("number", [2, 3, 5])
@pytest.mark.parametrize("count", [3, 8])
def test_steps_with_a_text_each_are_no_chapters_if_a_chapter_follows(number: int, count: int) -> None:
    chapters = [f"{at} Chapter" for at in range(1, count + 1)]
    steps = [line for at in range(1, 7) for line in (f"{at}. Light the lamp", "It is on the pole.")]
    parts = [[title, "Some text of it is here."] for title in chapters]
    for part in parts[:-1][: number - 1]:
        part += steps
    assert headings_of(build_document("c/x.pdf", print_parts(parts))) == chapters


def test_lines_that_happen_to_begin_with_1_and_2_enclose_no_chapters() -> None:
    chapters = ["1 Introduction", "2 Messages", "3 Timers", "4 Poles"]
    parts = [["1 Main Street", "Lamp City"], *([title, "Some text of it."] for title in chapters)]
    for last in ([], ["2 GHz is the band", "of it."]):
        found = headings_of(build_document("c/x.pdf", print_parts([*parts, last])))
        assert found == chapters


def test_a_chapter_without_a_text_stays_and_a_row_is_no_title() -> None:
    printed = read_printed_pages(["1 Scope\nText.\n2 Void\n3 Lamps\nText.\n3.1 Void\n3.2 Void\n3.3 Void"])
    found = [section.headings[-1] for section in build_document("c/x.pdf", printed).sections[1:]]
    assert found == ["1 Scope", "2 Void", "3 Lamps", "3.1 Void", "3.2 Void", "3.3 Void"]
    assert read("1 Lit\n\n2 Dark\n\nThese are the kinds.\n", "c/kinds.txt").title == "kinds"


VOID = "3 Definitions|What a lamp is.|4 Void|5 Void|6 Procedures|6.1 General|It is lit."
UNWRITTEN = "1 Scope|What a lamp is.|2 References|3 Definitions|4 Overview|It is lit."


@pytest.mark.parametrize(
    "text", [VOID, UNWRITTEN, UNWRITTEN.replace("1 Scope|What a lamp is.|", "1 Void|") + "|5 End|."]
)
@pytest.mark.parametrize("gap", ["\n", "\n\n"])
@pytest.mark.parametrize("space", [" ", "\t"])
def test_chapters_without_a_text_are_no_rows(text: str, gap: str, space: str) -> None:
    lines = [re.sub(r"^([\d.]+) ", rf"\1{space}", line) for line in text.split("|")]
    document = read(gap.join(["3GPP TS 99.331", *lines]))
    found = [section.headings[-1] for section in document.sections[1:]]
    assert found == [line for line in text.split("|") if line[0].isdigit()]
    assert document.sections[-1].blocks


def test_rows_that_count_on_from_their_chapter_are_none_if_the_chapters_count_on_too() -> None:
    parts = [
        ["1 Introduction", "The kinds are", *ROWS[1:4], "More text."],
        ["2 Messages", "Text."],
        ["3 Timers", "Text."],
    ]
    assert headings_of(build_document("c/x.pdf", print_parts(parts))) == ["1 Introduction", "2 Messages", "3 Timers"]
    parts = [["1 Introduction", "Text."], ["2 Messages", "These:", "1 Lit", "2 Dark", "Text."], ["2.1 Open", "Text."]]
    found = build_document("c/x.pdf", print_parts(parts))
    assert headings_of(found) == ["1 Introduction", "2 Messages", "2 Messages > 2.1 Open"]


def brute_force(keys: Sequence[int]) -> int:
    """The length of the longest rising run, by trying all."""
    best = [0] * len(keys)
    for at, key in enumerate(keys):
        best[at] = 1 + max((best[before] for before in range(at) if keys[before] < key), default=0)
    return max(best, default=0)


@given(st.lists(st.integers(1, 12), max_size=20))
def test_the_run_is_rising_and_none_is_longer(keys: list[int]) -> None:
    chosen = choose_rising(number([f"{key}. Lamp" for key in keys]))
    found = [int(candidate.text.split(".")[0]) for candidate in chosen]
    assert found == sorted(set(found))
    assert len(found) == brute_force(keys)


def test_what_reads_like_a_sentence_is_no_heading() -> None:
    for text in (
        "2 lamps are lit",
        "1. Do this first.",
        "3 Lamps,",
        "2031-04 Lamps",
        "5G lamps",
        "10.0.0.1 is it.",
        "1) A",
    ):
        assert match_numbered_line(0, text) is None, text
    assert choose_rising(number(["How", "5 MHz", "16 QAM"])) == []


# --- no word is lost

PARTS = (
    *("1. One\n", "2. Two\n", "2.1.  Two One\n", "Annex A (normative):\nLamps\n", "   indented words here\n"),
    *("plain words\nin lines\n", "| a | b |\n", "- c\n- d\n", "Head\n====\n", "e  f    g\n", "x ::= y\n", "5 MHz\n"),
    "a line that is long enough to be filled up to the margin, and goes on in\nthe next one\n",
)


@given(st.lists(st.tuples(st.sampled_from(PARTS), st.sampled_from(["", "\n", "\n\n", "\n\f"])), max_size=14))
def test_every_word_is_read_in_its_place(parts: list[tuple[str, str]]) -> None:
    text = "".join(part + gap for part, gap in parts)
    if any("Head\n====" in part for part, _ in parts):
        text = text.replace("====", "")  # an underline is no word
    pages = text.split("\f")
    if len(pages) > 1:
        text = text.replace("\f", "")  # lines that are the same on many pages are dropped
    document = read(text)
    found = [document.title] if document.title != "spec" else []
    for section in document.sections:
        found += [*section.headings[1:][-1:], *(block.whole for block in section.blocks)]
    assert " ".join(found).split() == text.split()
