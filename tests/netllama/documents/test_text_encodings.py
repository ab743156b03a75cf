"""The encoding of a page: what it declares is read as browsers read it."""

import pytest

from netllama.documents.dropped import DropError
from netllama.documents.text_encodings import decode_page, decode_text


def declare(label: str) -> bytes:
    return f'<html><head><meta charset="{label}"></head><body>'.encode()


@pytest.mark.parametrize(
    ("label", "text", "encoding"),
    [
        ("iso-8859-1", "“naïve” – 5 €", "cp1252"),
        ("us-ascii", "it’s", "cp1252"),
        ("x-cp1251", "сеть", "cp1251"),
        ("iso-8859-9", "“ağ”", "cp1254"),
        ("tis-620", "“เครือข่าย”", "cp874"),
        ("gb2312", "网络 朱镕基", "gbk"),
        ("GB2312", "𠮷", "gb18030"),
        ("shift_jis", "①番 ～", "cp932"),
        ("euc-kr", "똠방각하", "cp949"),
        ("iso-2022-jp", "経路の表", "iso2022_jp"),
        ("koi8-r", "сеть", "koi8-r"),
        ("iso-8859-1", "café", "utf-8"),
        ("utf-8", "café", "utf-8-sig"),
    ],
)
def test_what_a_page_declares_stands_for_the_larger_set(label: str, text: str, encoding: str) -> None:
    assert decode_page((declare(label).decode() + text).encode(encoding)).endswith(f"<body>{text}")


def test_a_byte_that_the_larger_set_lacks_is_read_in_the_declared_one() -> None:
    assert decode_page(declare("iso-8859-1") + b"na\xefve \x81").endswith("naïve \x81")


@pytest.mark.parametrize("label", ["iso-8859-1", "windows-1252", "latin1", "iso-8859-9", "windows-1254"])
def test_a_byte_that_stands_for_nothing_changes_no_other(label: str) -> None:
    text = decode_page(declare(label) + b"\x93it\x92s\x94 \x81\x8d\x90\x9d \x80")
    assert text.endswith("“it’s” \x81\x8d\x90\x9d €")


@pytest.mark.parametrize("label", ["iso-8859-8", "iso-8859-8-i", "ISO-8859-8-E", "windows-1255"])
def test_the_order_of_reading_in_a_label_is_no_other_encoding(label: str) -> None:
    assert decode_page(declare(label) + b"\xf9\xec\xe5\xed").endswith("שלום")


@pytest.mark.parametrize(
    "front",
    [
        '<?xml version="1.0" encoding="windows-1251"?>\n<html>',
        "\n<?xml version='1.0' encoding = 'windows-1251' standalone='yes'?>",
        '<?xml version="1.0" encoding="utf-8"?><meta charset=windows-1251>',
        '<meta http-equiv="Content-Type" content="text/html; charset = windows-1251">',
        '<!-- <meta charset="latin1"> --><meta charset=" windows-1251">',
    ],
)
def test_where_an_encoding_may_be_declared(front: str) -> None:
    assert decode_page(f"{front}сеть".encode("cp1251")) == f"{front}сеть"


@pytest.mark.parametrize("label", ["utf-16", "cp037", "no-such", "utf-8", "hex"])
def test_a_label_in_which_the_page_cannot_be_written_is_not_believed(label: str) -> None:
    data = declare(label) + b"\xef\xff"
    with pytest.raises(DropError, match=f"not UTF-8 at byte {len(data) - 2}; save the file as UTF-8"):
        decode_page(data)


def test_a_text_declares_nothing() -> None:
    with pytest.raises(DropError, match="not UTF-8 at byte"):
        decode_text(declare("iso-8859-1") + b"\xef")
