"""A file's bytes into its outline, by the format that its ending names."""

from collections.abc import Callable, Mapping
from pathlib import Path

from netllama.documents.dropped import DropError
from netllama.documents.html_reader import read_html
from netllama.documents.listing_reader import read_listing
from netllama.documents.markdown_reader import read_markdown
from netllama.documents.outline import Outline
from netllama.documents.pdf_reader import read_pdf
from netllama.documents.text_encodings import decode_page, decode_text
from netllama.documents.text_reader import read_plain_text

FORMATS = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".txt": "text",
    ".text": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".cfg": "listing",
    ".conf": "listing",
    ".log": "listing",
    ".yang": "listing",
}
"""By the file's ending, in lower case."""
MAX_BYTES = 64 * 2**20
"""A file above this is not read: ten times the longest 3GPP specification as text."""
READERS: Mapping[str, Callable[[str], Outline]] = {
    "markdown": read_markdown,
    "text": read_plain_text,
    "html": read_html,
    "listing": read_listing,
}


def read_outline(file: Path, format: str) -> Outline:
    """Raises DropError if there is nothing to be read, OSError if the system refuses."""
    data = file.read_bytes()
    if not data.strip():
        raise DropError("empty", "the file is empty")
    if format == "pdf":
        return read_pdf(data)
    return READERS[format](decode_page(data) if format == "html" else decode_text(data))
