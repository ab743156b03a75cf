"""Markdown into headings and blocks, by the line ranges that markdown-it-py finds.

The blocks are the file's own lines: nothing is rendered. A `#` in a code fence or a list is no heading.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from netllama.documents.document import BlockKind, TextBlock
from netllama.documents.outline import Heading, Outline

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_FIELD_LINE = r"(?:[A-Za-z_][\w-]*:|[ \t]+\S|- |#)[^\n]*\n"
# `#` begins a comment. With empty lines around it, it is a heading, and the text begins with a rule.
_EMPTY_LINE = r"[ \t]*\n(?!#[^\n]*\n[ \t]*\n)"
_FRONT_MATTER = re.compile(
    rf"---[ \t]*\n(?P<fields>{_FIELD_LINE}(?:{_FIELD_LINE}|{_EMPTY_LINE})*)(?:---|\.\.\.)[ \t]*(?:\n|\Z)"
)
_TITLE_FIELD = re.compile(r"^title:[ \t]*(?P<title>\S.*?)[ \t]*$", re.MULTILINE)
_COMMENT = re.compile(r"\s*(?:<!--(?:(?!-->).)*-->\s*)+", re.DOTALL)
_KINDS: dict[str, BlockKind] = {
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "fence": "code",
    "code_block": "code",
    "table_open": "table",
}


@cache
def _load_parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")


def read_markdown(text: str) -> Outline:
    """Of front matter only the title is read; comments and rules are left out, every other line is in a block."""
    title = ""
    if front := _FRONT_MATTER.match(text):
        title = _read_title(front["fields"])
        text = text[front.end() :]
    items = list(_iter_items(text))
    first = next((item for item in items if isinstance(item, Heading)), None)
    if title and first and first.level == 1 and first.text.casefold() != title.casefold():
        items.insert(0, Heading(1, title))  # else the heading would be the title
    return Outline(items, title)


def _read_title(fields: str) -> str:
    """Empty: there is none, or it is no text. What is no YAML, such as `title: BGP: an overview`, is read as it is."""
    import yaml

    try:
        read = yaml.load(fields, yaml.BaseLoader)  # without types: the title `1.10` is no number
    except (yaml.YAMLError, RecursionError):
        field = _TITLE_FIELD.search(fields)
        return field["title"].strip("\"'") if field else ""
    title = read.get("title") if isinstance(read, dict) else None
    return " ".join(title.split()) if isinstance(title, str) else ""


def _iter_items(text: str) -> Iterator[Heading | TextBlock]:
    tokens = _load_parser().parse(text)
    lines = text.split("\n")
    done = 0
    for at, token in enumerate(tokens):
        if token.level or token.map is None or token.nesting < 0:
            continue
        start, end = token.map
        yield from _read_unclaimed(lines[done:start])
        done = end
        if token.type == "heading_open":
            yield from _read_heading(token, tokens[at + 1])
        elif token.type != "hr":
            yield from _read_block(token, lines[start:end])
    yield from _read_unclaimed(lines[done:])


def _read_unclaimed(lines: list[str]) -> Iterator[TextBlock]:
    """Lines that no token has: definitions of links."""
    if text := _trim("\n".join(lines)):
        yield TextBlock("prose", text)


def _read_heading(token: "Token", inline: "Token") -> Iterator[Heading]:
    children = inline.children or []
    parts = [" " if child.type in ("softbreak", "hardbreak") else child.content for child in children]
    if text := " ".join("".join(parts).split()):
        yield Heading(int(token.tag[1:]), text)


def _read_block(token: "Token", lines: list[str]) -> Iterator[TextBlock]:
    kind = _KINDS.get(token.type, "prose")
    text = _trim("\n".join(lines))
    if not text or (token.type == "html_block" and _COMMENT.fullmatch(text)):
        return
    if kind == "table":
        yield _split_off(kind, text.split("\n"), first=2, last=0)
    elif token.type == "fence":
        rows = text.split("\n")
        closed = len(rows) > 1 and re.fullmatch(rf"[ \t]*{re.escape(token.markup)}[`~]*[ \t]*", rows[-1])
        yield _split_off(kind, rows, first=1, last=1 if closed else 0)
    else:
        yield TextBlock(kind, text)


def _split_off(kind: BlockKind, lines: list[str], first: int, last: int) -> TextBlock:
    """A block whose `first` lines open it and whose `last` lines close it; with nothing between them it is prose."""
    body = _trim("\n".join(lines[first : len(lines) - last]))
    if not body:
        return TextBlock("prose", "\n".join(lines))
    return TextBlock(kind, body, "\n".join(lines[:first]), "\n".join(lines[len(lines) - last :]))


def _trim(text: str) -> str:
    """Without empty lines around it, and without spaces at its end."""
    return re.sub(r"\A(?:[ \t]*\n)+", "", text).rstrip()
