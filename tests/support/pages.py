"""The Markdown pages of the repository, taken apart: commands, links, code spans, tables, and the figures they quote.

A page says in an HTML comment where its figures are from. The comment stands right below what it is about:

    <!-- metrics/split.json: rows.train = 241; params.yaml: train.max_steps = 40 -->
        below a paragraph, a list or a code block, which has these numbers in it
    <!-- columns: base = metrics/baseline.json, tuned = metrics/evaluate.json -->
        below a table, whose rows name the key in a code span
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from netllama.core.metrics import read_details
from netllama.core.params import parse_yaml
from tests.support.clones import ROOT

FOLDERS = ("bench", "data", "data/extra", "testbed")
"""Those with a page of their own."""
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *(page for folder in FOLDERS if (page := ROOT / folder / "README.md").exists()),
]
_FENCE = re.compile(r"^(`{3,})(\w*)\n(.*?)^\1$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!-- (.*?) -->", re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Figure:
    """A number that a page quotes: what the page says, and the file and key that it is from."""

    shown: str
    file: str
    key: str

    def find_value(self) -> Any:
        value = _read_values(self.file)
        for part in self.key.split("."):
            value = value[part]
        return value

    @property
    def is_true(self) -> bool:
        return float(self.shown.replace(",", "")) == float(self.find_value())


@cache
def read_page(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def list_blocks(path: Path, language: str) -> list[str]:
    return [text for _, found, text in _FENCE.findall(read_page(path)) if found == language]


def list_commands(path: Path) -> list[str]:
    """The lines of the bash blocks, without their remarks."""
    lines = [line for block in list_blocks(path, "bash") for line in block.splitlines()]
    return [line.split(" #")[0].strip() for line in lines if line.strip()]


def list_links(path: Path) -> list[str]:
    return _LINK.findall(_FENCE.sub("", read_page(path)))


def list_spans(path: Path) -> list[str]:
    """The inline code, table cells included, code blocks not."""
    return _SPAN.findall(_FENCE.sub("", read_page(path)))


def list_anchors(path: Path) -> set[str]:
    """The headings, as GitHub writes them into addresses."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", read_page(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def list_tables(text: str) -> list[list[list[str]]]:
    """Each table as its rows of cells, the header first."""
    found = re.findall(r"^(?:\|.*\|\n)+", text, re.MULTILINE)
    tables = [[re.split(r"(?<!\\)\|", line.strip("|")) for line in table.splitlines()] for table in found]
    return [[[cell.strip() for cell in row] for row in (table[0], *table[2:])] for table in tables]


def read_section(path: Path, title: str) -> str:
    return read_page(path).split(f"\n## {title}\n")[1].split("\n## ")[0]


def list_figures(path: Path) -> list[Figure]:
    """The figures that the page's comments name. AssertionError where a comment names one that is not above it."""
    page, figures = read_page(path), []
    for comment in _COMMENT.finditer(page):
        above = page[: comment.start()].rstrip("\n")
        text = " ".join(comment[1].split())
        if text.startswith("columns: "):
            columns = dict(re.findall(r"(\w+) = ([\w./]+)", text))
            figures += _list_cells(list_tables(f"{above}\n")[-1], columns)
            continue
        block = _last_block(above)
        for file, listed in re.findall(r"([\w./]+): ([^;]+)", text):
            for key, shown in re.findall(r"([\w.]+) = ([\d.,]*\d)", listed):
                grouped = shown if "." in shown else f"{int(shown):,}"
                digits = rf"(?<![\d.,])(?:{re.escape(shown)}|{grouped})(?!\d|[.,]\d)"
                assert re.search(digits, block), f"{path.name}: {shown} ({file} {key}) is not in the text above"
                figures.append(Figure(shown, file, key))
    return figures


def _list_cells(table: list[list[str]], columns: dict[str, str]) -> list[Figure]:
    head, *rows = table
    keys = [next(iter(_SPAN.findall(" ".join(row)))) for row in rows]
    return [
        Figure(row[head.index(name)], file, key)
        for row, key in zip(rows, keys, strict=True)
        for name, file in columns.items()
    ]


def _last_block(text: str) -> str:
    """The last code block if the text ends in one, else its last paragraph, list or table."""
    if text.endswith("```"):
        *_, last = _FENCE.finditer(text)
        return last[3]
    return text.rpartition("\n\n")[2]


@cache
def _read_values(file: str) -> Any:
    path = ROOT / file
    return read_details(path) if path.suffix == ".json" else parse_yaml(path)
