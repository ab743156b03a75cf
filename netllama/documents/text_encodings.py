"""Bytes into text: UTF-8, or the encoding that an HTML page declares, read as browsers read it."""

import codecs
import re
from collections.abc import Iterator

from netllama.documents.dropped import DropError

_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"\s*<\?xml[^>]+encoding\s*=\s*[\"']([\w.:-]+)", re.IGNORECASE)
_FRONT = 2048
"""Bytes of a page in which it declares its encoding."""
_LARGER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
}
"""For what pages declare, the larger set of characters that they are written in (https://encoding.spec.whatwg.org)."""
_HAS_HOLES = re.compile(r"cp(?:125\d|874)")
"""Windows' sets of a byte for each character: some bytes of C1, the second range of control characters, have none."""
_C1 = range(0x80, 0xA0)
_UNDEFINED = "\ufffe"
"""In a table of characters that codecs read, no character."""
_SEVEN_BIT = ("iso2022", "hz")
"""Their bytes are those of ASCII, so that they would pass for UTF-8."""


def decode_text(data: bytes) -> str:
    return _decode(data, ["utf-8-sig"])


def decode_page(data: bytes) -> str:
    """An HTML page. UTF-8 is tried first, since a page that says otherwise and yet is UTF-8 was saved again."""
    front = _COMMENT.sub(b"", data[:_FRONT])
    declared = _CHARSET.search(front) or _XML_ENCODING.match(front)
    return _decode(data, list(_iter_encodings(declared[1].decode()) if declared else ["utf-8-sig"]))


def _iter_encodings(declared: str) -> Iterator[str]:
    """Those to be tried, in their order."""
    try:
        label = re.sub(r"(?<=\d)-[ie]$", "", declared.lower().removeprefix("x-"))  # iso-8859-8-i: its order of reading
        name = codecs.lookup(label.replace("windows-", "cp")).name
        is_possible = b"<meta".decode(name) == "<meta"  # else the declaration could not have been read
    except (LookupError, UnicodeError):
        is_possible = False
    if is_possible and name.startswith(_SEVEN_BIT):
        yield name
    yield "utf-8-sig"
    if is_possible:
        yield _LARGER.get(name, name)
        yield name


def _decode(data: bytes, encodings: list[str]) -> str:
    """With LF as line ends. Raises DropError if it is no text in any of them."""
    text = next((text for encoding in encodings if (text := _try_encoding(data, encoding)) is not None), None)
    if text is None:
        raise DropError("undecodable", f"not UTF-8 at byte {_find_bad_byte(data)}; save the file as UTF-8")
    if "\0" in text:
        raise DropError("undecodable", f"holds the NUL character at {text.index(chr(0))}: not a text file")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _try_encoding(data: bytes, encoding: str) -> str | None:
    try:
        if _HAS_HOLES.fullmatch(encoding):
            text = codecs.charmap_decode(data, "strict", _make_table(encoding))[0]
        else:
            text = data.decode(encoding)
        text.encode()  # utf-7 and unicode-escape can make half a surrogate pair
    except UnicodeError:
        return None
    return text


def _make_table(encoding: str) -> str:
    """The character of each byte; those of C1 that have none stand for themselves, as in browsers."""
    characters = [bytes([byte]).decode(encoding, "ignore") for byte in range(256)]
    return "".join(found or (chr(at) if at in _C1 else _UNDEFINED) for at, found in enumerate(characters))


def _find_bad_byte(data: bytes) -> int:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0
