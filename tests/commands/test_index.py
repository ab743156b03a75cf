"""`python -m commands.index`: what it says of a folder, and what it finds in it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

import stages.generate
from commands.index import RECORDED, main
from netllama.core.errors import StageError
from netllama.documents import indexed_corpus
from netllama.documents.document import Document
from netllama.selfinstruct.checked_notes import load_notes
from tests.support.pdf_files import make_pdf
from tests.support.tiny_encoder import make_tiny_encoder
from tests.support.tokenizers_of_kinds import make_byte_level

TIMERS = "# Timers\n\n## Hold timer\n\nIt expires after 90 s.\n\n## Other\n\nNone.\n"
SENSELESS = (["notes", "--k", "0"], ["notes", "--max-tokens", "31"], ["notes", "--query", " "], [])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a tokenizer and two documents."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    make_byte_level("smollm").save_pretrained("models/tokenizer")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "timers.md").write_text(TIMERS)
    (tmp_path / "notes" / "ports.txt").write_text("Ports\n\nBGP listens on 179.\n")
    return tmp_path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> "Said":
    return Said(capsys)


class Said:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def by(self, *arguments: str) -> list[str]:
        main(list(arguments))
        return self.capsys.readouterr().out.splitlines()


def test_it_says_what_was_read_and_where_the_index_is(said: Said) -> None:
    read, cut, dropped, index = said.by("notes")
    assert read == "read: 2 documents (1 markdown, 1 text), 4 sections"
    assert cut.startswith("cut: 3 chunks, ")
    assert dropped == "dropped: nothing"
    assert Path(index.removeprefix("index: ")).is_dir()
    assert index.startswith("index: .scratch/index/")


def test_a_document_alone_is_one(said: Said, folder: Path) -> None:
    (folder / "notes" / "timers.md").unlink()
    (folder / "notes" / "ports.txt").write_text("BGP listens on 179.\n")
    assert said.by("notes")[0] == "read: 1 document (1 text), 1 section"


def test_it_lists_what_was_dropped_and_why_and_what_is_worth_reading_first(said: Said, folder: Path) -> None:
    (folder / "notes" / "a.docx").touch()
    (folder / "notes" / "z.pdf").write_bytes(make_pdf([["Some text."], []]))
    (folder / "notes" / "empty.md").touch()
    lines = said.by("notes")
    assert lines[2:6] == [
        "dropped: 3 (1 unknown ending, 1 empty, 1 scanned)",
        "  notes/empty.md: the file is empty",
        "  notes/z.pdf page 2: there is no text on it: a scanned page, which needs text recognition first",
        "  notes/a.docx: .docx: what is read ends in .md, .markdown, .txt, .text, .html, .htm, .xhtml, .pdf, "
        ".cfg, .conf, .log, .yang",
    ]


def test_a_long_list_ends_with_the_file_that_has_all_of_it(said: Said, folder: Path) -> None:
    for number in range(25):
        (folder / "notes" / f"{number}.md").touch()
    lines = said.by("notes")
    assert lines[2] == "dropped: 25 (25 empty)"
    where = lines[23].removeprefix("  and 5 more: ")
    assert len(Path(where).read_text().splitlines()) == 25


def test_queries_find_the_chunks(said: Said) -> None:
    lines = said.by(
        "notes",
        "--query",
        "hold timer",
        "--query",
        "port 179 of BGP",
        "--query",
        "xyzzy",
        "--query",
        "the",
        "--query",
        "???",
        "--k",
        "1",
    )
    first, second, none, common, signs = "\n".join(lines[4:]).strip().split("\n\n")
    assert first.splitlines()[0] == '"hold timer"'
    assert first.splitlines()[1].startswith("1. ")
    assert first.splitlines()[1].endswith("  notes/timers.md#hold-timer")
    assert first.splitlines()[2:] == ["   Timers > Hold timer", "   It expires after 90 s."]
    assert "notes/ports.txt" in second
    assert none == '"xyzzy": no chunk holds a word of it'
    assert signs == '"???": there is no word in it'
    assert common == '"the": too common words; they are not looked up'


def test_with_dense_chunks_are_found_by_meaning_too(said: Said, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexed_corpus, "ensure_encoder", lambda cache: make_tiny_encoder(folder / "encoder"))
    lines = said.by("notes", "--dense", "--query", "xyzzy", "--query", "hold timer", "--k", "3")
    none, best = "\n".join(lines[4:]).strip().split("\n\n")
    assert none.splitlines()[0] == '"xyzzy"'
    assert none.count("\n3. 0.0159  notes/") == 1
    # The first of three by words, and one of three by meaning.
    assert best.splitlines()[1] in [f"1. {1 / 61 + 1 / rank:.4f}  notes/timers.md#hold-timer" for rank in (61, 62, 63)]


def test_what_a_document_says_to_the_terminal_is_shown(said: Said, folder: Path) -> None:
    (folder / "notes" / "evil.md").write_text("# Evil\n\nXyzzy \x1b[2J\n")
    lines = said.by("notes", "--query", "xyzzy")
    assert lines[-1] == "   Xyzzy \\x1b[2J"


def test_an_index_is_built_once_until_a_file_or_the_size_changes(
    said: Said, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = said.by("notes", "--query", "timer")
    built = []
    cut_documents = indexed_corpus.cut_documents

    def count(*arguments: object) -> object:
        built.append(arguments)
        return cut_documents(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(indexed_corpus, "cut_documents", count)
    assert said.by("notes", "--query", "timer") == first
    assert built == []
    said.by("notes", "--max-tokens", "64")
    (folder / "notes" / "ports.txt").write_text("Ports\n\nBGP listens on port 179.\n")
    assert said.by("notes")[3] != first[3]
    assert len(built) == 2


@pytest.mark.parametrize(
    "name", ["chunks.jsonl", "dropped.jsonl", "summary.json", "index/texts.npy", "index/index.json"]
)
def test_a_kept_index_with_damaged_bytes_is_made_again(said: Said, name: str) -> None:
    """A flipped bit of a text is another letter: nothing but a hash tells it."""
    first = said.by("notes", "--query", "timer")
    place = Path(first[3].removeprefix("index: "))
    whole = (place / name).read_bytes()
    (place / name).write_bytes(bytes([whole[0] ^ 1]) + whole[1:] if whole else b"{}")
    again = said.by("notes", "--query", "timer")
    assert again == [f"{place}: {name} is damaged; the documents are indexed again", *first]
    assert (place / name).read_bytes() == whole


def test_a_query_that_is_no_text_is_searched_for(said: Said) -> None:
    assert '"hold \ufffd timer"' in said.by("notes", "--query", "hold \udcff timer")


def test_a_build_that_fails_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(documents: Sequence[Document], *_: object) -> None:
        raise StageError("broken")

    monkeypatch.setattr(indexed_corpus, "cut_documents", fail)
    with pytest.raises(StageError, match="broken"):
        main(["notes"])
    assert [path.suffix for path in (folder / ".scratch" / "index").iterdir()] == [".lock"]


def test_recorded_chunks_are_the_notes_that_generate_checks_answers_against(said: Said) -> None:
    assert said.by("notes", "--record")[-1].startswith(f"{RECORDED}: written; commit it")
    notes = load_notes(stages.generate.NOTES)
    assert len(notes) == 3
    name, text = next(iter(notes.find("when does the hold timer expire").items()))
    assert (name, text) == ("notes/timers.md#hold-timer", "Timers > Hold timer\nIt expires after 90 s.")
    before = RECORDED.read_bytes()
    said.by("notes", "--record")
    assert RECORDED.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["notes", "models"], "models: nothing in it could be read: "),
        (["notes/ports.txt"], "ports.txt: not a folder"),
    ],
)
def test_an_error_is_one_line(arguments: list[str], said: str) -> None:
    with pytest.raises(StageError, match=said) as caught:
        main(arguments)
    assert "\n" not in str(caught.value)


def test_a_missing_tokenizer_names_the_command(folder: Path) -> None:
    (folder / "models" / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(StageError, match=r"tokenizer\.json is missing: run `dvc repro fetch`"):
        main(["notes"])


@pytest.mark.parametrize("arguments", SENSELESS)
def test_senseless_arguments_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err
