"""HTML into headings and blocks, with lists, tables and code as Markdown writes them.

Of a page with one <main> or one <article> only that is read. Scripts, styles, forms and navigation are left out. What
stands behind </body> or </html> is read as well, as browsers do, and so are all pages of a file that holds several.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from netllama.documents.document import TextBlock
from netllama.documents.dropped import DropError
from netllama.documents.html_tables import make_table
from netllama.documents.html_text import INLINE, LEFT_OUT, drop_permalinks, flatten, mark_scripts
from netllama.documents.outline import Heading, Outline

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_LISTS = ("ul", "ol", "menu", "dl")
_ITEMS = ("li", "dt", "dd")
# The parser stops at </html>, and takes what stands behind </body> out of it.
_END_OF_PAGE = re.compile(r"</(?:body|html)\b[^<>]*>", re.IGNORECASE)
_END, _BEGIN = re.compile(r"</html\b", re.IGNORECASE), re.compile(r"<html\b", re.IGNORECASE)
_MISPLACED = "misplaced <html> tag"
"""What the parser says of a page behind another one, but also of what stands in front of the only one."""
_HIDDEN = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1", re.IGNORECASE | re.DOTALL)
_INTEGER = re.compile(r"\s*-?\d{1,9}\s*")
_LANGUAGE = re.compile(r"(?:language|lang|highlight)-(\w+)")


def read_html(text: str) -> Outline:
    """Raises DropError for a page that can't be read to its end, such as one nested more than 255 deep."""
    from lxml import etree, html

    parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        root = html.document_fromstring(_END_OF_PAGE.sub("", text).encode(), parser)
    except etree.ParserError:
        raise DropError("empty", "there is no text in the page") from None
    if limit := next((error for error in parser.error_log if error.type_name == "ERR_RESOURCE_LIMIT"), None):
        raise DropError("broken", f"more than the HTML parser reads: {limit.message.partition(',')[0].lower()}")
    title = root.findtext(".//title") or ""
    mark_scripts(root)
    walk = _Walk()
    misplaced = any(_MISPLACED in error.message for error in parser.error_log)
    walk.read(root if misplaced and _has_second_page(text) else _find_main_part(root))
    walk.end_paragraph()
    return Outline(walk.items, title)


def _has_second_page(text: str) -> bool:
    shown = _HIDDEN.sub("", text)
    end = _END.search(shown)
    return end is not None and _BEGIN.search(shown, end.end()) is not None


def _find_main_part(root: "HtmlElement") -> "HtmlElement":
    for name in ("main", "article"):
        found = list(root.iter(name))
        if len(found) == 1 and flatten(found[0]):  # a script may be what fills an empty one
            return found[0]
    return root


class _Walk:
    """Collects what is read; text between two blocks is a paragraph."""

    def __init__(self) -> None:
        self.items: list[Heading | TextBlock] = []
        self.text = ""

    def end_paragraph(self) -> None:
        if text := " ".join(self.text.split()):
            self.items.append(TextBlock("prose", text))
        self.text = ""

    def read(self, element: "HtmlElement") -> None:
        """The element and all in it, but not what stands behind it."""
        name = element.tag
        if not isinstance(name, str) or LEFT_OUT.fullmatch(name):
            return
        if INLINE.fullmatch(name):
            self.read_inside(element)
            return
        self.end_paragraph()
        if name in _HEADINGS:
            drop_permalinks(element)
            if text := flatten(element).rstrip("¶ "):
                self.items.append(Heading(int(name[1]), text))
        elif name == "pre":
            self.items += _make_code(element)
        elif name == "table" and (table := make_table(element)):
            self.items += table
        elif name in _LISTS:
            self.items += _make_list(element)
        else:
            self.read_inside(element)
        self.end_paragraph()

    def read_inside(self, element: "HtmlElement") -> None:
        if element.tag == "br":
            self.text += " "
        self.text += element.text or ""
        for child in element:
            self.read(child)
            self.text += child.tail or ""


def _make_code(element: "HtmlElement") -> Iterator[TextBlock]:
    for line_break in element.iter("br"):
        line_break.tail = "\n" + (line_break.tail or "")
    text = re.sub(r"\A(?:[ \t]*\n)+", "", element.text_content().replace("\r\n", "\n")).rstrip()
    if text:
        fence = "```" + "`" * max((len(run) - 2 for run in re.findall("`{3,}", text)), default=0)
        classes = " ".join(one.get("class") or "" for one in (element, *element.iter("code")))
        language = _LANGUAGE.search(classes)
        yield TextBlock("code", text, fence + (language[1] if language else ""), fence)


def _make_list(element: "HtmlElement") -> Iterator[TextBlock]:
    lines = [text] if (text := " ".join((element.text or "").split())) else []
    number = _read_number(element, "start", 1) - 1
    for child in element:
        walk = _Walk()
        walk.read_inside(child) if child.tag in _ITEMS else walk.read(child)
        walk.text += child.tail or ""
        walk.end_paragraph()
        inner = "\n".join(item.text if isinstance(item, Heading) else item.whole for item in walk.items)
        if not inner:
            continue
        number = _read_number(child, "value", number + 1) if child.tag == "li" else number
        marker = "  " if child.tag not in ("li", "dt") else f"{number}. " if element.tag == "ol" else "- "
        lines.append(marker + inner.replace("\n", "\n" + " " * len(marker)))
    if lines:
        yield TextBlock("list", "\n".join(lines))


def _read_number(element: "HtmlElement", name: str, default: int) -> int:
    match = _INTEGER.fullmatch(element.get(name) or "")
    return int(match[0]) if match else default
