"""Markdown: which lines are headings, where blocks end, and that no line is lost."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.documents.document import TextBlock
from netllama.documents.markdown_reader import read_markdown
from netllama.documents.outline import Heading, build_document
from tests.data.test_corpus import NOTES


def read_kinds(text: str) -> list[tuple[str, str]]:
    items = read_markdown(text).items
    return [("heading", item.text) if isinstance(item, Heading) else (item.kind, item.whole) for item in items]


def test_a_hash_in_code_in_a_list_or_in_a_quote_is_no_heading() -> None:
    text = (
        "# Title\n\n```bash\n# a comment\n```\n\n    # indented\n\n- item\n  # in an item\n\n> # quoted\n\n"
        "~~~\n# tilde\n~~~\n\n#no space\n\n\\# escaped\n"
    )
    assert [text for kind, text in read_kinds(text) if kind == "heading"] == ["Title"]


def test_headings_of_both_kinds_and_all_levels() -> None:
    text = "Title `x`\n=====\n\nTwo *words*\n---\n\n### Three ###\n\n#### [Four](http://x) &amp; more\n\n##\n"
    assert [item for item in read_markdown(text).items if isinstance(item, Heading)] == [
        Heading(1, "Title x"),
        Heading(2, "Two words"),
        Heading(3, "Three"),
        Heading(4, "Four & more"),
    ]


def test_blocks_are_the_lines_of_the_file() -> None:
    blocks = [
        ("prose", "A paragraph\nof two lines."),
        ("list", "- a\n\n  more of a\n- b\n  1. c"),
        ("prose", "> quoted\n> twice"),
        ("code", "````python\n```\nx = 1\n```\n````"),
        ("code", "    indented = 1\n\n    code = 2"),
        ("table", "| a | b |\n|---|:-:|\n| 1 | 2 |"),
        ("prose", "<div>\nHTML\n</div>"),
        ("prose", "[1]: https://example.org\n[2]: https://example.net"),
    ]
    assert read_kinds("\n\n".join(text for _, text in blocks)) == blocks


def test_tables_and_code_know_their_head() -> None:
    table, code, empty, open_end = read_markdown(
        "| a |\n|---|\n| 1 |\n\n```py\nx\n```\n\n```sh\n```\n\n~~~\nno end"
    ).items
    assert table == TextBlock("table", "| 1 |", "| a |\n|---|")
    assert code == TextBlock("code", "x", "```py", "```")
    assert empty == TextBlock("prose", "```sh\n```")
    assert open_end == TextBlock("code", "no end", "~~~")


def test_front_matter_gives_the_title_alone() -> None:
    front = '---\ntitle: "Route leaks"\ntags:\n  - bgp\n---\n'
    assert build_document("c/x.md", read_markdown(front + "Text.\n")).title == "Route leaks"
    assert read_kinds(front + "Text.") == [("prose", "Text.")]


@pytest.mark.parametrize(
    ("field", "title"),
    [
        ("title: Route leaks # a draft", "Route leaks"),
        ("title: 'The peer''s \"leaks\"'", 'The peer\'s "leaks"'),
        ('title: "Leaks \\u2013 \\"why\\""', 'Leaks – "why"'),
        ("title: >\n  Route leaks\n  and hijacks", "Route leaks and hijacks"),
        ("title: |-\n  Route leaks", "Route leaks"),
        ("title:\n  Route leaks", "Route leaks"),
        ("title: 1.10", "1.10"),
        ("title: 2024-13-45", "2024-13-45"),
        ("title: BGP: an overview", "BGP: an overview"),
        ("title: [a, b]", ""),
        ("other: Route leaks", ""),
        ("title:", ""),
        (f"title: Leaks\ndeep: {'[' * 5000}", "Leaks"),
    ],
)
def test_the_title_of_front_matter_is_read_as_yaml(field: str, title: str) -> None:
    text = f"---\nlayout: page\n{field}\ntags: [bgp]\n---\nText.\n"
    assert read_markdown(text).title == title
    assert read_kinds(text) == [("prose", "Text.")]


def test_the_title_of_front_matter_stays_above_a_heading() -> None:
    document = build_document(
        "c/x.md", read_markdown("---\ntitle: Route leaks\n---\nA.\n\n# Why\n\nB.\n\n## So\n\nC.\n")
    )
    assert [section.headings for section in document.sections] == [
        ("Route leaks",),
        ("Route leaks", "Why"),
        ("Route leaks", "Why", "So"),
    ]
    for body in ("# route LEAKS\n\n## So\n\nC.\n", "## So\n\nC.\n"):
        document = build_document("c/x.md", read_markdown(f"---\ntitle: Route leaks\n---\n{body}"))
        assert [section.headings[1:] for section in document.sections] == [(), ("So",)]
        assert document.title.casefold() == "route leaks"


def test_a_heading_may_end_in_a_hash() -> None:
    text = "# C#\n\n## F# ##\n\n## A #\n\n## B \\#\n"
    assert [item.text for item in read_markdown(text).items] == ["C#", "F#", "A", "B #"]


def test_front_matter_may_hold_empty_lines() -> None:
    lines = ["title: Route leaks", "", "# for the site", "tags:", "  - bgp", " ", "text: |", "  a", "", "", "  b", ""]
    outline = read_markdown("\n".join(["---", *lines, "---", "Text."]))
    assert outline.title == "Route leaks"
    assert list(outline.items) == [TextBlock("prose", "Text.")]


def test_a_heading_between_two_rules_is_no_front_matter() -> None:
    for text in ("---\nDate: May\n\n# Lamps\n\n- lit\n\n---\n", "---\n\nNote: lit.\n\n---\n"):
        assert [word for _, item in read_kinds(text) for word in item.split()] == [
            word for word in text.split() if word not in ("---", "#")
        ]


def test_a_rule_at_the_begin_is_no_front_matter() -> None:
    text = "---\nA sentence here: not a field.\n\nMore.\n\n---\n\nEnd.\n"
    assert [text for _, text in read_kinds(text)] == ["A sentence here: not a field.", "More.", "End."]


def test_comments_are_left_out_and_other_html_is_not() -> None:
    assert read_kinds("<!-- a\n\nb -->\n\nText <!-- inside -->.\n") == [("prose", "Text <!-- inside -->.")]


def test_the_title_is_the_first_heading_of_level_one_or_the_file() -> None:
    assert build_document("c/as-path.md", read_markdown("## Only a section\n\nText.")).title == "as path"
    document = build_document("c/x.md", read_markdown("Before.\n\n# Title\n\nBelow.\n\n# Second\n\nText.\n\n### Deep"))
    assert [section.headings for section in document.sections] == [
        ("Title",),
        ("Title", "Second"),
        ("Title", "Second", "Deep"),
    ]
    assert [block.text for block in document.sections[0].blocks] == ["Before.", "Below."]


PARTS = (
    *("# Head a1\n", "b2 text\nover c3 lines\n", "```\n# d4\n\ne5\n```\n", "- f6\n- g7\n\n  h8\n", "> i9\n"),
    *("    n1\n", "| j | k |\n|--|--|\n| l | m |\n", "[o]: p2\n", "q3\n===\n", "1. r\n   ```\n   s\n   ```\n", "***\n"),
    *("<b>t</b>\n", "```\nu\n"),
)


@given(st.lists(st.tuples(st.sampled_from(PARTS), st.sampled_from(["", "\n", "\n\n"])), max_size=12))
def test_no_word_is_lost_or_moved(parts: list[tuple[str, str]]) -> None:
    """Against the text itself: headings lose their marks, rules go, everything else stays where it is."""
    text = "".join(part + gap for part, gap in parts)
    marks = {"#", "===", "***"}
    found = [word for _, item in read_kinds(text) for word in item.split() if word not in marks]
    assert found == [word for word in text.split() if word not in marks]


def test_every_note_of_the_project_is_read_whole() -> None:
    for path in NOTES:
        text = path.read_text(encoding="utf-8")
        found = " ".join(whole for _, whole in read_kinds(text))
        assert re.sub("[`#]", "", found).split() == re.sub("[`#]", "", text).split(), path
