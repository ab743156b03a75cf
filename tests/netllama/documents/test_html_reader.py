"""HTML: what is read of a page, and in what form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.documents.document import TextBlock
from netllama.documents.dropped import DropError
from netllama.documents.html_reader import read_html
from netllama.documents.outline import Heading, build_document


def read(body: str) -> list[tuple[str, str]]:
    items = read_html(f"<html><head><title>From the head</title></head><body>{body}</body></html>").items
    return [("heading", item.text) if isinstance(item, Heading) else (item.kind, item.whole) for item in items]


def test_headings_paragraphs_and_loose_text() -> None:
    assert read(
        "<h1>A<a class=headerlink>¶</a></h1>loose <b>bo</b>ld<p>One<p>Two<br>three<h3>B &amp; C</h3><div>four"
    ) == [
        ("heading", "A"),
        ("prose", "loose bold"),
        ("prose", "One"),
        ("prose", "Two three"),
        ("heading", "B & C"),
        ("prose", "four"),
    ]


def test_lists_in_lists() -> None:
    assert read("<ul><li>a<ol><li>b<li>c</ol></li><li><p>d</p><p>e</p></ul><dl><dt>t<dd>is it</dl>") == [
        ("list", "- a\n  1. b\n  2. c\n- d\n  e"),
        ("list", "- t\n  is it"),
    ]


def test_code_keeps_its_lines_and_its_language() -> None:
    page = '<pre><code class="language-python">\ndef f():\n    return "```"\n</code></pre><pre>a<br>b</pre>'
    assert read(page) == [
        ("code", '````python\ndef f():\n    return "```"\n````'),
        ("code", "```\na\nb\n```"),
    ]


def test_tables_have_their_head_apart() -> None:
    page = (
        "<table><caption>Ports</caption><tr><th>Name</th><th>a|b</th></tr><tr><td>BGP<td><p>1<p>79</table>"
        "<table><tr><td>x<td>y</table>"
    )
    assert read_html(page).items == [
        TextBlock("prose", "Ports"),
        TextBlock("table", "| BGP | 1 79 |", "| Name | a\\|b |\n|---|---|"),
        TextBlock("table", "| x | y |"),
    ]


def test_a_table_for_the_layout_is_read_as_paragraphs() -> None:
    assert read("<table><tr><td><table><tr><td>a<td>b</table><td><p>c</p></table>") == [
        ("table", "| a | b |"),
        ("prose", "c"),
    ]


def test_scripts_navigation_and_comments_are_left_out_but_not_what_stands_behind_them() -> None:
    page = "<nav>menu</nav>one<script>x()</script><style>p{}</style><!-- no --> two<select><option>z</select> three"
    assert read(page) == [("prose", "one two three")]


def test_of_a_page_with_one_main_part_that_is_read() -> None:
    assert read("<header>site</header><main><h2>A</h2><p>b</main><footer>c</footer>") == [
        ("heading", "A"),
        ("prose", "b"),
    ]
    assert read("<article>a</article><article>b</article>") == [("prose", "a"), ("prose", "b")]


def read_words(page: str) -> str:
    return " ".join(item.text if isinstance(item, Heading) else item.whole for item in read_html(page).items)


@pytest.mark.parametrize(
    "page",
    [
        "<html><body><p>a</p></body></html><html><body><p>b</p></body></html>",
        "<!DOCTYPE html><html><body><p>a</body></html>\n<!DOCTYPE html><html><head><style>p{}</style></head><body>b",
        "<html><body><p>a</p><html><body><p>b",
        "<body>a</body></html>b",
        "<body><p>a</body ><p>b</HTML>",
        "a</div></body></p></html>b",
        "<html><head></head></html>a<p>b",
        "<html><main>a</main></body></html><html><body>b</body></html>",
        "<html><body>a</body></html><html><article>b</article></html>",
        "<html><body>a<main></main>b</body></html>",
        "<script>w('</body></html><html>')</script>a<!-- </html> --><p>b",
    ],
)
def test_what_stands_behind_the_end_of_a_page_is_read(page: str) -> None:
    assert "".join(read_words(page).split()) == "ab"


def test_the_end_of_a_page_in_a_script_makes_no_second_page() -> None:
    page = "<script>w('</body></html><html>')</script><nav>menu</nav><main>a</main><footer>b</footer></body></html>"
    assert read_words(page) == "a"


def test_the_title_is_the_first_top_heading_or_that_of_the_head() -> None:
    page = "<title>Head  title</title><h{0}>Body title</h{0}><p>text"
    assert build_document("c/x.html", read_html(page.format(1))).title == "Body title"
    assert build_document("c/x.html", read_html(page.format(2))).title == "Head title"
    assert build_document("c/my-page.html", read_html("<p>text")).title == "my page"


@pytest.mark.parametrize("page", ["<!-- nothing -->", " ", "<?xml version='1.0'?>"])
def test_a_page_without_text_is_empty(page: str) -> None:
    with pytest.raises(DropError, match="no text"):
        read_html(page)


def test_a_page_that_the_parser_does_not_read_to_its_end_is_dropped() -> None:
    assert read("<div>" * 200 + "in" + "</div>" * 200 + "<p>out") == [("prose", "in"), ("prose", "out")]
    with pytest.raises(DropError, match="more than the HTML parser reads: excessive depth"):
        read("<div>" * 400 + "in" + "</div>" * 400)


TAGS = (
    *("p", "div", "b", "h2", "ul", "li", "span", "blockquote", "td", "section", "ol", "dl", "dd"),
    *("html", "body"),
)


@given(st.lists(st.tuples(st.sampled_from(TAGS), st.booleans()), max_size=25))
def test_no_word_is_lost_however_the_elements_are_nested(tags: list[tuple[str, bool]]) -> None:
    page = "".join(
        f" w{at} <{tag}> v{at} " if opens else f" w{at} </{tag}> v{at} " for at, (tag, opens) in enumerate(tags)
    )
    found = " ".join(text for _, text in read(f"{page} end")).replace("- ", " ")
    words = [word for word in found.split() if word[0] in "wve"]
    assert words == [word for word in page.split() if word[0] in "wv"] + ["end"]
