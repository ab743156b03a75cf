"""The text of HTML elements in one line, and what of it plain text would lose: 2<sup>32</sup> is 2^32, and not 232."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.html import HtmlElement

LEFT_OUT = re.compile(
    "audio|button|canvas|head|iframe|input|nav|noscript|object|script|select|style|svg|template|textarea|video"
)
INLINE = re.compile(
    "a|abbr|b|bdi|bdo|big|br|cite|code|data|del|dfn|em|font|i|img|ins|kbd|label|mark|math|q|s|samp|small|span|strike"
    "|strong|sub|sup|time|tt|u|var|wbr"
)
_SCRIPT_MARKS = {"sup": "^", "sub": "_"}
_SINGLE = re.compile(r"[-−+]?\w+(?:[.,]\w+)*|\(.*\)")
_NO_SCRIPT = re.compile(r"st|nd|rd|th|TM|SM|\[.*\]|\W*")
"""What is raised for its looks, and marks of footnotes in brackets."""
_PERMALINK = re.compile("[¶#§🔗\u200b\\s]*")


def flatten(element: "HtmlElement") -> str:
    """The text of an element in one line."""
    return " ".join("".join(_iter_texts(element)).split())


def _iter_texts(element: "HtmlElement") -> Iterator[str]:
    if not isinstance(element.tag, str) or LEFT_OUT.fullmatch(element.tag):
        return
    border = "" if INLINE.fullmatch(element.tag) and element.tag != "br" else " "
    yield border + (element.text or "")
    for child in element:
        yield from _iter_texts(child)
        yield child.tail or ""
    yield border


def mark_scripts(root: "HtmlElement") -> None:
    """Write superscripts and subscripts as TeX does: 2^32, H_2O, x_(i+1)."""
    for element in reversed(list(root.iter(*_SCRIPT_MARKS))):  # the inner one of two first
        if not all(INLINE.fullmatch(str(inner.tag)) for inner in element.iterdescendants()):
            continue  # paragraphs are in it: its end is missing
        text = flatten(element)
        if not _NO_SCRIPT.fullmatch(text) and _stands_behind_text(element):
            element[:] = []
            element.text = _SCRIPT_MARKS[element.tag] + (text if _SINGLE.fullmatch(text) else f"({text})")


def _stands_behind_text(element: "HtmlElement") -> bool:
    previous = element.getprevious()
    texts = [element.getparent().text] if previous is None else [*previous.itertext(), previous.tail]
    before = "".join(filter(None, texts))
    return before != "" and not before[-1].isspace()


def drop_permalinks(heading: "HtmlElement") -> None:
    """The links `#` or `¶` to the heading itself: the `#` of `C#` is none."""
    for link in heading.iter("a"):
        if _PERMALINK.fullmatch(flatten(link)):
            link.clear(keep_tail=True)
