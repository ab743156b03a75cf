"""PDF into headings and blocks: the text of its pages, read as a plain text is.

A PDF says nothing of headings or paragraphs. Numbered headings are found by their numbers, paragraphs by lines that are
filled up to the margin.
"""

import re
import unicodedata

from netllama.documents.dropped import DropError
from netllama.documents.outline import Outline
from netllama.documents.text_reader import read_printed_pages

# What pdfium makes of a hyphen at the end of a line, and the soft hyphen.
_BROKEN_WORD = re.compile(r"[\ufffe\x02\xad]\n?")
_LIGATURES = re.compile(r"[\ufb00-\ufb06]")


def read_pdf(data: bytes) -> Outline:
    """Pages without text, which are pictures, are listed in the outline; DropError if no page has any."""
    title, pages = _extract_pages(data)
    scanned = tuple(number for number, page in enumerate(pages, start=1) if not page.strip())
    if len(scanned) == len(pages):
        raise DropError("scanned", f"no text on any page ({len(pages)}): scanned, it needs text recognition first")
    outline = read_printed_pages(pages)
    return Outline(outline.items, outline.title or title, scanned)


def _extract_pages(data: bytes) -> tuple[str, list[str]]:
    """The title that the file says, and the text of each page."""
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(data)
        try:
            pages = [_clean(page.get_textpage().get_text_bounded()) for page in pdf]
            return str(pdf.get_metadata_value("Title")), pages
        finally:
            pdf.close()
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise DropError("encrypted", "encrypted with a password; save it without one") from None
        raise DropError("broken", f"not a PDF that can be read ({error})") from None


def _clean(text: str) -> str:
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    words = _BROKEN_WORD.sub("", lines).replace("\0", "")
    return _LIGATURES.sub(lambda match: unicodedata.normalize("NFKC", match[0]), words)
