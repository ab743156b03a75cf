"""HTML tables as Markdown writes them; a cell over several rows or columns is repeated, to keep the columns aligned.

Of a long one what repeats it is empty.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from netllama.documents.document import TextBlock
from netllama.documents.html_text import flatten

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_MOST_COLUMNS = 50
"""Of one cell: `colspan=1000` is written for `all there are`. Further to the right no cell is repeated below itself."""
_LONGEST_REPEATED = 80
"""Characters of a cell: a longer one is a text, which two thousand rows need not repeat."""
_ALL_ROWS = 1 << 16


def make_table(table: "HtmlElement") -> list[TextBlock]:
    """Its captions and its rows; empty, if it has one column or is there for the layout and holds tables itself."""
    if next(table.iterdescendants("table"), None) is not None or table.get("role") == "presentation":
        return []
    rows = [row for row in table.iter("tr") if _list_cells(row)]
    if max((len(_list_cells(row)) for row in rows), default=0) < 2:
        return []
    captions = [TextBlock("prose", text) for caption in table.iter("caption") if (text := flatten(caption))]
    grid = list(_iter_filled_rows(list(table.iter("tr"))))
    head = _count_head(rows)
    if not head:
        return [*captions, TextBlock("table", "\n".join(map(_show_row, grid)))]
    names = _merge_head(grid[:head])
    body = "\n".join(map(_show_row, grid[head:]))
    return [*captions, TextBlock("table", body, f"{_show_row(names)}\n|{'---|' * len(names)}")]


def _list_cells(row: "HtmlElement") -> list["HtmlElement"]:
    return [cell for cell in row if cell.tag in ("td", "th")]


def _show_row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |"


def _count_head(rows: Sequence["HtmlElement"]) -> int:
    """How many rows are the head: those of <thead>, or those in front that hold nothing but <th>. 0: it has none."""
    is_head = [row.getparent().tag == "thead" or all(cell.tag == "th" for cell in _list_cells(row)) for row in rows]
    if all(is_head):
        return min(1, len(rows) - 1)
    return is_head.index(False)


def _merge_head(rows: Sequence[Sequence[str]]) -> list[str]:
    """One row, since Markdown has one: `Value` above `min` and `max` becomes `Value min` and `Value max`."""
    columns = [[row[at] for row in rows if at < len(row)] for at in range(max(map(len, rows)))]
    return [" ".join(filter(None, dict.fromkeys(texts))) for texts in columns]


def _iter_filled_rows(rows: Sequence["HtmlElement"]) -> Iterator[list[str]]:
    """The texts of each row that has cells, those of cells that began further up or to the left included."""
    begun: dict[int, tuple[str, int]] = {}
    """By column, the text of a cell from a row above and how many rows it goes on."""
    for at, row in enumerate(rows):
        if at and row.getparent() is not rows[at - 1].getparent():
            begun = {}  # no cell goes on from <thead> into <tbody>
        begun, texts = _fill_row(row, begun)
        if _list_cells(row):  # one without any uses up the spans, and shows nothing
            yield texts


def _fill_row(row: "HtmlElement", begun: dict[int, tuple[str, int]]) -> tuple[dict[int, tuple[str, int]], list[str]]:
    """(what goes on in the next row, the texts of this one)"""
    cells = _list_cells(row)
    own = [
        (flatten(cell) if at == 0 else _repeat(flatten(cell)), _read_span(cell, "rowspan") or _ALL_ROWS)
        for cell in cells
        # A cell that alone fills its row is a title within the table.
        for at in range(1 if len(cells) == 1 and not begun else max(1, min(_read_span(cell, "colspan"), _MOST_COLUMNS)))
    ]
    own.reverse()
    columns: list[tuple[str, int]] = []
    while own or any(column >= len(columns) for column in begun):
        above = begun.get(len(columns))
        columns.append(above or (own.pop() if own else ("", 1)))
    following = {at: (_repeat(text), rows - 1) for at, (text, rows) in enumerate(columns[:_MOST_COLUMNS]) if rows > 1}
    return following, [text for text, _ in columns]


def _repeat(text: str) -> str:
    return text if len(text) <= _LONGEST_REPEATED else ""


def _read_span(cell: "HtmlElement", name: str) -> int:
    value = (cell.get(name) or "").strip()
    return int(value) if value.isdecimal() and len(value) < 6 else 1
