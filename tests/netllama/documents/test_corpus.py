"""Folders: what is read, in what order, and that whatever is not read is listed with the reason."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from netllama.core.errors import StageError
from netllama.documents.corpus import CorpusReading, read_corpus
from netllama.documents.cutting import cut_documents
from netllama.documents.dropped import measure_dropped_share
from tests.support.pdf_files import make_pdf
from tests.support.shipped_data import CORPUS, CORPUS_FOLDERS, list_shipped_notes

Folder = Path


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "docs" / "sub").mkdir(parents=True)
    (tmp_path / "docs" / "note.md").write_text("# Note\n\nText.\n")
    return tmp_path / "docs"


def read(*folders: Path, **options: int) -> tuple[CorpusReading, list[str]]:
    """The reading, and the paths of its documents."""
    reading = read_corpus(folders, **options)
    return reading, [document.path for document in reading.documents]


def list_dropped(reading: CorpusReading) -> list[tuple[str, str]]:
    return [(item.file, item.cause) for item in reading.dropped]


def test_all_formats_are_read_in_the_order_of_their_paths(folder: Folder) -> None:
    (folder / "b.TXT").write_text("Plain words.")
    (folder / "sub" / "a.html").write_text("<p>A page.")
    (folder / "sub.md").write_text("# Sub")
    (folder / "sub.md").write_text("# Sub\n\nBelow.")
    (folder / "c.pdf").write_bytes(make_pdf([["A PDF."]]))
    (folder / "r1.cfg").write_text("router bgp 64500\n neighbor 192.0.2.1 remote-as 64501\n")
    reading, paths = read(folder)
    assert paths == ["docs/b.TXT", "docs/c.pdf", "docs/note.md", "docs/r1.cfg", "docs/sub.md", "docs/sub/a.html"]
    assert reading.counts == {"markdown": 2, "text": 1, "html": 1, "pdf": 1, "listing": 1}
    assert reading.dropped == []
    assert measure_dropped_share(reading.dropped, reading.counts.total()) == 0


def test_the_order_does_not_depend_on_the_file_system(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("z", "A", "b", "ä", "a-b", "a"):
        (folder / f"{name}.md").write_text(f"# {name}\n\nText of {name}.")
    _, paths = read(folder)
    assert paths == sorted(paths)
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: reversed(list(scandir(path))))
    assert read(folder)[1] == paths


def make_link(place: Path, target: Path | str) -> None:
    place.symlink_to(target)


BAD: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "latin.md": (
        lambda path: path.write_bytes(b"na\xefve"),
        "undecodable",
        "not UTF-8 at byte 2; save the file as UTF-8",
    ),
    "utf16.txt": (lambda path: path.write_text("text", "utf-16"), "undecodable", "not UTF-8 at byte 0"),
    "binary.txt": (lambda path: path.write_bytes(b"text\0text"), "undecodable", "holds the NUL character at 4"),
    "empty.md": (lambda path: path.touch(), "empty", "the file is empty"),
    "blank.txt": (lambda path: path.write_text(" \n\f\n"), "empty", "the file is empty"),
    "title.md": (lambda path: path.write_text("# A title\n"), "empty", "no text in it besides a title"),
    "comment.md": (lambda path: path.write_text("<!-- nothing -->\n"), "empty", "no text in it besides a title"),
    "comment.html": (lambda path: path.write_text("<!-- nothing -->\n"), "empty", "there is no text in the page"),
    "large.md": (lambda path: path.write_text("x " * 600), "too_large", "0.0 MiB are above the limit of 0.0; split"),
    "copy.txt": (lambda path: path.write_text("Same words.\n"), "", ""),
    "copy2.md": (lambda path: path.write_text("Same\nwords."), "duplicate", "the same text as docs/sub/copy.txt"),
    "scan.pdf": (lambda path: path.write_bytes(make_pdf([[]])), "scanned", "no text on any page (1)"),
    "secret.pdf": (lambda path: path.write_bytes(make_pdf([["x"]], encrypted=True)), "encrypted", "with a password"),
    "broken.pdf": (lambda path: path.write_bytes(make_pdf([["x"]])[:99]), "broken", "not a PDF that can be read"),
    "slides.pptx": (lambda path: path.write_bytes(b"x"), "unknown_ending", ".pptx: what is read ends in .md, "),
    "README": (lambda path: path.write_text("x"), "unknown_ending", "no ending: what is read ends in .md, "),
    ".hidden.md": (lambda path: path.write_text("x"), "hidden", "hidden: begins with a dot"),
    ".git": (lambda path: path.mkdir(), "hidden", "hidden: begins with a dot"),
    "outside.md": (lambda path: make_link(path, "/etc/hostname"), "link", "a link out of the folder, to /etc/hostname"),
    "outside.js": (lambda path: make_link(path, "/etc/hostname"), "unknown_ending", ".js: what is read ends in .md, "),
    "elsewhere": (lambda path: make_link(path, "/etc"), "link", "a link out of the folder, to /etc; copy what"),
    "gone.md": (lambda path: make_link(path, "nothing.md"), "link", "can't be opened: No such file"),
    "loop.md": (lambda path: make_link(path, "loop.md"), "link", "can't be opened: "),
    "above": (lambda path: make_link(path, ".."), "duplicate", "a link to a folder of the same corpus"),
    "pipe.md": (lambda path: os.mkfifo(path), "unreadable", "not a regular file but a pipe"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_read_is_listed_and_the_rest_is_read(folder: Folder, name: str) -> None:
    make, cause, reason = BAD[name]
    make(folder / "sub" / name)
    if name == "copy2.md":
        BAD["copy.txt"][0](folder / "sub" / "copy.txt")
    reading, paths = read(folder, max_bytes=1000)
    assert "docs/note.md" in paths
    if cause:
        (dropped,) = reading.dropped
        assert (dropped.file.rstrip("/"), dropped.cause) == (f"docs/sub/{name}", cause)
        assert reason in dropped.reason
        assert str(dropped) == f"{dropped.file}: {dropped.reason}"
        expected = cause in ("hidden", "unknown_ending", "duplicate")
        share = 0 if expected else 1 / (1 + len(paths))
        assert measure_dropped_share(reading.dropped, reading.counts.total()) == share


def test_all_of_it_at_once_and_twice(folder: Folder) -> None:
    for name, (make, _, _) in BAD.items():
        make(folder / "sub" / name)
    reading = read_corpus([folder], max_bytes=1000)
    first = list(reading.documents), list(reading.dropped), dict(reading.counts)
    assert len(first[1]) == len(BAD) - 1
    assert [item.file for item in first[1]] == sorted(item.file for item in first[1])
    assert (list(reading.documents), list(reading.dropped), dict(reading.counts)) == first


def test_a_link_to_a_file_of_the_folder_is_a_duplicate(folder: Folder) -> None:
    make_link(folder / "other.md", "note.md")
    reading, paths = read(folder)
    assert paths == ["docs/note.md"]
    assert list_dropped(reading) == [("docs/other.md", "duplicate")]


def test_a_scanned_page_is_listed_and_its_file_is_read(folder: Folder) -> None:
    (folder / "a.pdf").write_bytes(make_pdf([["Printed."], []]))
    reading, paths = read(folder)
    assert "docs/a.pdf" in paths
    assert [(item.file, item.page, item.cause) for item in reading.dropped] == [("docs/a.pdf", 2, "scanned")]
    assert str(reading.dropped[0]).startswith("docs/a.pdf page 2: there is no text on it")
    assert measure_dropped_share(reading.dropped, reading.counts.total()) == 0


def test_a_folder_and_a_file_that_the_system_refuses_are_listed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sub" / "x.md").write_text("never read")
    (folder / "secret.md").write_text("never read")
    scandir, read_bytes = os.scandir, Path.read_bytes

    def refuse(path: Path, wanted: str) -> None:
        if Path(path).name == wanted:
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", lambda path: (refuse(path, "sub"), scandir(path))[1])
    monkeypatch.setattr(Path, "read_bytes", lambda path: (refuse(path, "secret.md"), read_bytes(path))[1])
    reading, paths = read(folder)
    assert paths == ["docs/note.md"]
    assert [(item.file, item.cause, item.reason) for item in reading.dropped] == [
        ("docs/secret.md", "unreadable", "can't be read: Permission denied"),
        ("docs/sub/", "unreadable", "the folder can't be opened: Permission denied"),
    ]


def test_a_name_that_is_not_utf8_can_be_written_down(folder: Folder) -> None:
    try:
        (folder / os.fsdecode(b"bad\xff.md")).write_text("Text of it.")
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    assert read(folder)[1] == ["docs/bad\\xff.md", "docs/note.md"]


def test_an_accent_is_one_character_whatever_the_file_system_stores(folder: Folder) -> None:
    (folder / "re\u0301seau.md").write_text("Text of it.")
    assert "docs/r\u00e9seau.md" in read(folder)[1]


def make_latin_file(folder: Path, name: bytes) -> Path:
    file = folder / os.fsdecode(name)
    try:
        file.touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    return file


def test_an_ending_and_a_link_that_are_not_utf8_can_be_written_down(folder: Folder) -> None:
    target = make_latin_file(folder.parent, b"\xfcber.md")
    make_latin_file(folder, b"Pr\xfcfung v1.2 f\xfcr K\xf6ln")
    make_link(folder / "out.md", target)
    reading, paths = read(folder)
    assert paths == ["docs/note.md"]
    for dropped in reading.dropped:
        str(dropped).encode()
    assert list_dropped(reading) == [
        ("docs/Pr\\xfcfung v1.2 f\\xfcr K\\xf6ln", "unknown_ending"),
        ("docs/out.md", "link"),
    ]
    assert reading.dropped[0].reason.startswith(".2 f\\xfcr K\\xf6ln: what is read ends in ")
    assert f"to {folder.parent}/\\xfcber.md; copy" in reading.dropped[1].reason


@pytest.mark.parametrize("place", ["caf{}.md", "caf{}/a.md"])
def test_of_two_names_that_differ_only_in_their_bytes_the_second_is_dropped(folder: Folder, place: str) -> None:
    names = [place.format(accent) for accent in ("e\u0301", "\u00e9")]
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"Text of {name.encode()!r}.")
    if len(list(folder.iterdir())) < 4:
        pytest.skip("this file system takes them for one name")
    reading = read_corpus([folder])
    first = next(iter(reading.documents))
    assert (first.path, first.sections[0].blocks[0].text) == (f"docs/{names[1]}", f"Text of {names[0].encode()!r}.")
    assert [document.path for document in reading.documents] == [first.path, "docs/note.md"]
    assert list_dropped(reading) == [(first.path, "same_name")]
    assert reading.dropped[0].is_failure
    assert "another file has the same name" in reading.dropped[0].reason


def test_text_with_a_byte_order_mark_or_windows_line_ends_is_the_same_text(folder: Folder) -> None:
    text = "# T\n\na\nb\n\n```\nc\n```\n"
    (folder / "note.md").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    (document,) = read_corpus([folder]).documents
    (folder / "note.md").write_text(text)
    assert list(read_corpus([folder]).documents) == [document]


def test_a_page_in_the_encoding_that_it_declares(folder: Folder) -> None:
    page = '<html><head><meta charset="iso-8859-1"></head><body><p>naïve</body></html>'
    (folder / "a.html").write_bytes(page.encode("latin-1"))
    (folder / "b.html").write_bytes(page.replace("iso-8859-1", "no-such").replace("naïve", "other ï").encode("latin-1"))
    reading = read_corpus([folder])
    assert next(iter(reading.documents)).sections[0].blocks[0].text == "naïve"
    assert [path.path for path in reading.documents] == ["docs/a.html", "docs/note.md"]
    assert list_dropped(reading) == [("docs/b.html", "undecodable")]


@pytest.mark.parametrize(
    ("declared", "body"),
    [
        ("idna", b"\xff.b"),
        ("undefined", b"\xff"),
        ("unicode-escape", b"\\ud83d \xff"),
        ("utf-7", b"+2AA- \xff"),
        ("rot13", b"\xff"),
    ],
)
def test_an_encoding_that_makes_no_text_is_one_that_is_not_known(folder: Folder, declared: str, body: bytes) -> None:
    (folder / "a.html").write_bytes(b'<meta charset="%s"><p>%s' % (declared.encode(), body))
    reading, paths = read(folder)
    assert paths == ["docs/note.md"]
    assert list_dropped(reading) == [("docs/a.html", "undecodable")]


# --- folders


def test_the_same_text_in_two_folders_is_read_from_the_first(folder: Folder) -> None:
    shutil.copytree(folder, other := folder.parent / "other")
    (other / "more.md").write_text("More.")
    reading, paths = read(folder, other)
    assert paths == ["docs/note.md", "other/more.md"]
    assert [str(item) for item in reading.dropped] == ["other/note.md: the same text as docs/note.md"]


def test_dot_and_a_trailing_slash_name_the_folder(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert read(Path())[1] == read(Path("../docs/"))[1] == read(Path("sub/.."))[1] == ["docs/note.md"]


def test_an_error_names_the_folder(folder: Folder) -> None:
    (folder.parent / "b" / "docs").mkdir(parents=True)
    cases = {
        (folder / "nowhere",): "nowhere: no such folder",
        (folder / "note.md",): "note.md: not a folder; name the folder that the file is in",
        (folder, folder.parent / "b" / "docs"): "folders of one name",
        (folder, folder): "folders of one name",
        (Path("/"),): "the root of the file system is no corpus",
        (): "no corpus folder is named",
    }
    for folders, said in cases.items():
        with pytest.raises(StageError, match=said):
            read_corpus(folders)


def test_a_folder_without_anything_to_read_is_an_error_that_names_it_and_a_reason(folder: Folder) -> None:
    with pytest.raises(StageError, match=r"docs/sub: an empty folder; put documents into it that end in \.md, "):
        read(folder, folder / "sub")
    (folder / "sub" / ".x").touch()
    (folder / "sub" / "x.pdf").write_bytes(make_pdf([[]]))
    with pytest.raises(
        StageError, match=r"sub: nothing in it could be read: 2 dropped, among them sub/x\.pdf: no text on"
    ):
        read(folder, folder / "sub")


def test_the_same_text_under_another_title_is_another_document(folder: Folder) -> None:
    text = "See the vendor's manual."
    (folder / "a.md").write_text(f"# Cisco IOS\n\n{text}\n")
    (folder / "b.md").write_text(f"# Juniper Junos\n\n{text}\n")
    (folder / "c.html").write_text(f"<title>Arista EOS</title><p>{text}")
    (folder / "d.md").write_text(f"# Cisco IOS\n\n{text}\n")
    (folder / "e.md").write_text(text)
    (folder / "eos.md").write_text(f"# eos\n\n{text}\n")
    (folder / "f.md").write_text(text)
    (folder / "ios.md").write_text(f"# ios\n\n{text}\n")
    reading, paths = read(folder)
    assert [str(item) for item in reading.dropped] == [
        "docs/d.md: the same text as docs/a.md",
        "docs/f.md: the same text as docs/e.md",
    ]
    assert len(paths) == 7


# --- the hash of the files


def test_the_hash_is_that_of_names_and_bytes(folder: Folder) -> None:
    before = read_corpus([folder]).hash_files()
    os.utime(folder / "note.md", (1, 1))
    assert read_corpus([folder]).hash_files() == before
    changes: list[Callable[[], object]] = [
        lambda: (folder / "note.md").write_text("# Note\n\nOther.\n"),
        lambda: (folder / "note.md").rename(folder / "other.md"),
        lambda: (folder / "x.pptx").touch(),
        lambda: (folder / "y.md").touch(),
    ]
    hashes = [before]
    for change in changes:
        change()
        hashes.append(read_corpus([folder]).hash_files())
    assert len(set(hashes)) == len(changes) + 1


def test_every_note_of_the_project_is_read_and_cut() -> None:
    reading = read_corpus([CORPUS / folder for folder in CORPUS_FOLDERS])
    documents = list(reading.documents)
    assert len(documents) == len(list_shipped_notes()) == reading.counts["markdown"] >= 200
    assert reading.dropped == []
    sizes = [
        chunk.tokens for chunk in cut_documents(documents, 120, lambda texts: [len(text.split()) for text in texts])
    ]
    assert max(sizes) <= 120
    assert sum(len(document.sections) for document in documents) <= len(sizes) * 2
