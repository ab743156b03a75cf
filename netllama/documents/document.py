"""What a file of the corpus is once it is read, and the chunks that it is cut into."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from netllama.core.records import Record

BlockKind = Literal["prose", "lines", "list", "code", "table"]
"""`lines`: paragraphs or entries of a line each; `code`: art and grammars, too."""


@dataclass(frozen=True)
class TextBlock:
    """Text between two borders at which a section may be cut: a paragraph, a list, code or art, a table."""

    kind: BlockKind
    text: str
    """Verbatim, without empty lines around it; of a table, the rows below its head."""
    opening: str = ""
    """The line that opens a code block, the head of a table: each piece begins with it where the block is cut."""
    closing: str = ""
    """The line that closes a code block."""

    @property
    def whole(self) -> str:
        return "\n".join(filter(None, (self.opening, self.text, self.closing)))


@dataclass(frozen=True)
class DocumentSection:
    """The text between a heading and the next one."""

    headings: tuple[str, ...]
    """From the document's title down to this section's own."""
    blocks: tuple[TextBlock, ...]


@dataclass(frozen=True)
class Document:
    """A file of the corpus as text."""

    path: str
    """Relative to the corpus folder, in POSIX form, with the folder's own name in front: `corpus/bgp/add-path.md`."""
    title: str
    sections: tuple[DocumentSection, ...]
    """In the order of the text. The first one holds what stands below the title alone; it may have no blocks."""


class Chunk(Record):
    """A piece of a document, small enough to be shown to the model: a row of data/retrieved/chunks.jsonl."""

    id: str
    """`corpus/bgp/add-path.md#capability~2`: path, headings below the title, number of the piece."""
    document: str
    """The path of its document."""
    headings: list[str]
    """From the document's title down to the section."""
    text: str
    tokens: int
    """Of the model's tokenizer, counted over what `show_chunk` gives."""


def show_chunk(headings: Sequence[str], text: str) -> str:
    """A chunk as the model sees it and as an index reads it: a line of headings, then the text."""
    return f"{' > '.join(headings)}\n{text}" if headings else text
