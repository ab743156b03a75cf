"""A file's bytes into its outline, by the format that its ending names."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from netllama.documents.dropped import DropError
from netllama.documents.html_reader import read_html
from netllama.documents.listing_reader import read_listing
from netllama.documents.markdown_reader import read_markdown
from netllama.documents.outline import Outline
from netllama.documents.pdf_reader import read_pdf
from netllama.documents.text_reader import read_plain_text

FORMATS = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".txt": "text",
    ".text": "text",
    ".html": "html",
    ".htm": "html",
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
_CHARSET = re.compile(rb"<meta[^>]+charset=[\"']?([\w-]+)", re.IGNORECASE)


def read_outline(file: Path, format: str) -> Outline:
    """Raises DropError if there is nothing to be read, OSError if the system refuses."""
    data = file.read_bytes()
    if not data.strip():
        raise DropError("empty", "the file is empty")
    if format == "pdf":
        return read_pdf(data)
    declared = _CHARSET.search(data[:2048]) if format == "html" else None
    text = decode_text(data, declared[1].decode() if declared else "utf-8")
    return READERS[format](text)


def decode_text(data: bytes, encoding: str) -> str:
    """Text with LF as line ends; UTF-8 is tried before the encoding that an HTML page declares."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        try:
            if encoding.lower().replace("-", "") == "utf8":
                raise LookupError
            text = data.decode(encoding)
            text.encode()  # utf-7 and unicode-escape can make half a surrogate pair
        except (LookupError, UnicodeError):
            raise DropError("undecodable", f"not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    if "\0" in text:
        raise DropError("undecodable", f"holds the NUL character at {text.index(chr(0))}: not a text file")
    return text.replace("\r\n", "\n").replace("\r", "\n")
