"""PDF files of a few lines, written out byte by byte."""

from collections.abc import Sequence

ENCRYPTION = b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%b> /U <%b> >> /ID [<01> <01>] " % (
    b"5a" * 32,
    b"a5" * 32,
)
"""Under a password that nobody knows."""


def make_pdf(pages: Sequence[Sequence[str]], title: str = "", encrypted: bool = False) -> bytes:
    """A page for each list of lines, in Courier, 14 points apart; a page of no lines holds a drawn box alone."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>")
    objects.append(f"<< /Title ({title}) >>".encode("cp1252"))
    places = []
    for lines in pages:
        shown = [f"({_escape(line)}) Tj T*" for line in lines]
        text = "BT /F1 10 Tf 14 TL 50 800 Td " + "\n".join(shown) + " ET" if lines else "10 10 80 80 re S"
        drawn = text.encode("cp1252")
        objects.append(b"<< /Length %d >>\nstream\n%b\nendstream" % (len(drawn), drawn))
        page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {len(objects)} 0 R"
        objects.append(f"{page} /Resources << /Font << /F1 3 0 R >> >> >>".encode())
        places.append(len(objects))
    kids = " ".join(f"{place} 0 R" for place in places)
    objects[1] = f"<< /Type /Pages /Kids [{kids}] /Count {len(places)} >>".encode()
    return _write(objects, ENCRYPTION if encrypted else b"")


def _escape(line: str) -> str:
    return line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def _write(objects: Sequence[bytes], encryption: bytes) -> bytes:
    written, offsets = b"%PDF-1.4\n", []
    for number, inside in enumerate(objects, 1):
        offsets.append(len(written))
        written += b"%d 0 obj\n%b\nendobj\n" % (number, inside)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size, start = len(objects) + 1, len(written)
    trailer = b"trailer << /Size %d /Root 1 0 R /Info 4 0 R %b>>\n" % (size, encryption)
    trailer += b"startxref\n%d\n%%%%EOF\n" % start
    return written + b"xref\n0 %d\n0000000000 65535 f \n" % size + table + trailer
