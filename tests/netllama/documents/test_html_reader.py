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


def test_a_list_counts_from_where_it_says() -> None:
    assert read("<ol start=5><li>a<li>b</ol>") == [("list", "5. a\n6. b")]
    assert read("<ol start=' 3 '><li>a<li value=7>b<li value=x>c</ol>") == [("list", "3. a\n7. b\n8. c")]
    assert read(f"<ol start=many><li>a</ol><ol start={'9' * 5000}><li>b</ol>") == [("list", "1. a"), ("list", "1. b")]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("2<sup>32</sup> of H<sub>2</sub>O", "2^32 of H_2O"),
        ("10<sup>-3</sup>, x<sub> i+1 </sub>, 2<sup>2<sup>n</sup></sup>", "10^-3, x_(i+1), 2^(2^n)"),
        ("<i>T</i><sub>min</sub><sup><b>2</b></sup>", "T_min^2"),
        ("x<sup>(1)</sup> in the 4<sup>th</sup> year<sup>[3]</sup><sup>*</sup>", "x^(1) in the 4th year[3]*"),
        ("see <sup>2</sup> and x<sup></sup>", "see 2 and x"),
    ],
)
def test_superscripts_and_subscripts_are_told_from_the_text_before_them(html: str, text: str) -> None:
    assert read(f"<p>{html}</p>") == [("prose", text)]
    assert read(f"<h2>{html}</h2>") == [("heading", text)]
    assert read(f"<table><tr><td>{html}<td>b</table>") == [("table", f"| {text} | b |")]
    assert " ".join(read(f"<pre>{html}</pre>")[0][1].split()) == f"``` {text} ```"


def test_a_superscript_without_its_end_keeps_its_paragraphs() -> None:
    assert read("2<sup>32<p>a</p><p>b</p>") == [("prose", "232"), ("prose", "a"), ("prose", "b")]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("C#", "C#"),
        ("F# <a href='#f'>#</a>", "F#"),
        ("<a class=anchor href='#c'># </a>C# ¶", "C#"),
        ("C<a href='#c'>\u200b</a>", "C"),
        ("The <code>#</code> of <a href='/c'>C#</a>", "The # of C#"),
    ],
)
def test_a_heading_loses_links_to_itself_alone(html: str, text: str) -> None:
    assert read(f"<h2>{html}</h2>") == [("heading", text)]


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


def read_table(rows: str) -> list[str]:
    (table,) = read_html(f"<table>{rows}</table>").items
    assert isinstance(table, TextBlock)
    return table.whole.split("\n")


def test_a_cell_over_several_rows_or_columns_is_repeated() -> None:
    rows = "<tr><th>Type<th>Name<th>Octets<tr><td rowspan=2>1<td>Open<td>29<tr><td>Any<td>4<tr><td>2<td colspan=2>none"
    assert read_table(rows) == [
        "| Type | Name | Octets |",
        "|---|---|---|",
        "| 1 | Open | 29 |",
        "| 1 | Any | 4 |",
        "| 2 | none | none |",
    ]
    assert read_table("<tr><td>a<td rowspan=0>b<td>c<tr><td>d<td>e<tr><td>f") == [
        "| a | b | c |",
        "| d | b | e |",
        "| f | b |",
    ]


def test_a_row_without_cells_is_one_over_which_a_cell_goes() -> None:
    rows = "<tr><td rowspan=2>A<td rowspan=2>B</tr><tr></tr><tr><td>C<td>D</tr>"
    assert read_table(rows) == ["| A | B |", "| C | D |"]
    assert read_table(rows.replace("2>B", "3>B")) == ["| A | B |", "| C | B | D |"]


def test_a_long_cell_over_several_rows_or_columns_stands_once() -> None:
    long = "lamp " * 20
    rows = f"<tr><td rowspan=0>{long}<td>a<td>b" + "<tr><td>c<td>d" * 2000
    assert read_table(rows) == [f"| {long}| a | b |", *["|  | c | d |"] * 2000]
    assert read_table(f"<tr><td colspan=3>{long}<td>a") == [f"| {long}|  |  | a |"]
    head = f"<tr><th rowspan=2>{long}<th colspan=2>{long}<tr><th>min<th>max<tr><td>hold<td>3<td>180"
    assert read_table(head)[0] == f"| {long}| {long}min | max |"


def test_a_head_of_two_rows_is_one_row() -> None:
    rows = "<tr><th rowspan=2>Timer<th colspan=2>Seconds<tr><th>min<th>max<tr><td>hold<td>3<td>180"
    expected = ["| Timer | Seconds min | Seconds max |", "|---|---|---|", "| hold | 3 | 180 |"]
    assert read_table(rows) == expected
    in_head = rows.replace("<th", "<td").replace("<tr><td>hold", "</thead><tbody><tr><td>hold")
    assert read_table(f"<thead>{in_head}</tbody>") == expected


def test_a_title_within_a_table_stands_once_and_no_cell_leaves_the_head() -> None:
    assert read_table("<tr><td>a<td>b<tr><td colspan=1000>All of it<tr><td>c<td>d") == [
        "| a | b |",
        "| All of it |",
        "| c | d |",
    ]
    rows = "<thead><tr><th rowspan=9>a<th>b</tr></thead><tbody><tr><td>c<td>d</tbody>"
    assert read_table(rows) == ["| a | b |", "|---|---|", "| c | d |"]


@pytest.mark.parametrize("span", ["x", "-1", "1.5", "", "²", "9" * 5000])
def test_a_span_that_is_no_number_is_one(span: str) -> None:
    assert read_table(f"<tr><td colspan='{span}' rowspan='{span}'>a<td>b<tr><td>c<td>d") == ["| a | b |", "| c | d |"]


def test_a_cell_over_a_thousand_columns_takes_fifty() -> None:
    assert read_table("<tr><td>a<td colspan=1000>b") == [f"| a |{' b |' * 50}"]
    rows = "<tr><td colspan=1000 rowspan=60000>a<td rowspan=60000>b" * 30
    assert len("\n".join(read_table(rows))) < 30 * 120 * len("| a ")


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=4), min_size=1, max_size=5))
def test_no_cell_is_lost_and_their_order_stays(rows: list[list[tuple[int, int]]]) -> None:
    cells = [
        [f"<td rowspan={down} colspan={across}>w{at}x{place}" for place, (down, across) in enumerate(row)]
        for at, row in enumerate(rows)
    ]
    page = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    found = [word for _, text in read(f"<table>{page}</table>") for word in text.replace("|", " ").split()]
    assert sorted(set(found), key=found.index) == [cell.partition(">")[2] for row in cells for cell in row]


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


@pytest.mark.parametrize(
    "page",
    [
        "<meta charset=utf-8><base href='https://lamps.example/'><html><body><nav>c</nav><main>a</main>b</body></html>",
        "<script>w('</html><html>')</script><html><body><main>a</main>b</body></html>",
        "<!-- </html> --><script>w()</script><html><body><main>a</main>b</body></html>",
        "<html><body><main>a<p>The tag <html> is open.</main>b</body></html>",
    ],
)
def test_what_stands_in_front_of_the_page_makes_no_second_one(page: str) -> None:
    assert read_words(page) in ("a", "a The tag is open.")


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
