"""What a reader of a format finds, headings and blocks in their order, into the sections of a document."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from netllama.documents.document import Document, DocumentSection, TextBlock


@dataclass(frozen=True)
class Heading:
    level: int
    """1 for the topmost; a level may be left out."""
    text: str


@dataclass(frozen=True)
class Outline:
    """A file's text: `title` is what the format says beside the text (HTML's <title>), empty if nothing."""

    items: Sequence[Heading | TextBlock]
    title: str = ""
    scanned_pages: Sequence[int] = ()
    """Numbers, from 1, of a PDF's pages that hold no text."""


def build_document(path: str, outline: Outline) -> Document:
    """The document of the file `path`.

    Its title is the first heading if that is of level 1, else what the format says, else the file's name. A later
    heading of level 1 is a section below the title, so that another one at the end moves no section.
    """
    items = list(outline.items)
    first = next((at for at, item in enumerate(items) if isinstance(item, Heading)), None)
    title = outline.title.strip()
    if first is not None:
        heading = items[first]
        if isinstance(heading, Heading) and heading.level == 1:
            title = heading.text
            del items[first]
    title = " ".join(title.split()) or name_from_path(path)
    return Document(path, title, tuple(_nest_sections(title, items)))


def _nest_sections(title: str, items: Iterable[Heading | TextBlock]) -> list[DocumentSection]:
    above: list[Heading] = []
    headings: tuple[str, ...] = (title,)
    blocks: list[TextBlock] = []
    sections = []
    for item in items:
        if isinstance(item, TextBlock):
            blocks.append(item)
            continue
        sections.append(DocumentSection(headings, tuple(blocks)))
        while above and above[-1].level >= item.level:
            above.pop()
        above.append(item)
        headings = (title, *(heading.text for heading in above))
        blocks = []
    sections.append(DocumentSection(headings, tuple(blocks)))
    return sections


def name_from_path(path: str) -> str:
    """The title of a file that doesn't say one: `bgp/add-path.md` is `add path`. Empty for an empty path."""
    stem = PurePosixPath(path).stem
    return " ".join(stem.replace("-", " ").replace("_", " ").split()) or stem
