"""Chunks: nothing lost, nothing twice, none too long, whatever counts the tokens."""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.documents import cutting
from netllama.documents.cutting import LEAST_TOKENS, cut_documents
from netllama.documents.document import Chunk, Document, DocumentSection, TextBlock, show_chunk
from netllama.documents.markdown_reader import read_markdown
from netllama.documents.outline import build_document
from tests.support.tokenizers_of_kinds import make_byte_level, make_sentencepiece

Count = Callable[[Sequence[str]], list[int]]
_TOKENIZERS = [make_byte_level("smollm"), make_byte_level("llama-bpe"), make_sentencepiece()]


def count_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def count_more_when_joined(texts: Sequence[str]) -> list[int]:
    """The sum over parts is too low: what was planned by it is too long."""
    return [len(text.split()) * 5 // 4 + text.count("\n\n") * 3 for text in texts]


def count_by(tokenizer: Any) -> Count:
    encode = tokenizer.backend_tokenizer.encode_batch_fast
    return lambda texts: [len(encoding.ids) for encoding in encode(list(texts), add_special_tokens=False)]


COUNTS = [count_words, count_more_when_joined, *map(count_by, _TOKENIZERS)]


def cut(document: Document, max_tokens: int, count: Count = count_words) -> list[Chunk]:
    return list(cut_documents([document], max_tokens, count))


def read(text: str, path: str = "c/note.md") -> Document:
    return build_document(path, read_markdown(text))


# --- random documents: every word has a number of its own, so that order and place can be told

words = st.text("abcdefgäß.,!?-é東", min_size=1, max_size=7)
long_word = st.text("xyz0", min_size=200, max_size=400)
lines = st.lists(words, min_size=1, max_size=12).map(" ".join)


def make_sentences(parts: list[str]) -> str:
    return ". ".join(part.capitalize() for part in parts) + "."


blocks = st.one_of(
    st.lists(lines, min_size=1, max_size=12).map(lambda parts: TextBlock("prose", make_sentences(parts))),
    st.lists(lines, min_size=1, max_size=8).map(lambda parts: TextBlock("lines", "\n".join(parts))),
    st.lists(lines, min_size=1, max_size=8).map(
        lambda parts: TextBlock("list", "\n".join(f"- {part}" for part in parts))
    ),
    st.lists(lines, min_size=1, max_size=12).map(lambda parts: TextBlock("code", "\n".join(parts), "```python", "```")),
    st.lists(lines, min_size=1, max_size=12).map(
        lambda rows: TextBlock("table", "\n".join(f"| {row} |" for row in rows), "| HEAD |\n|---|")
    ),
)
headings = st.lists(st.text("abcd", min_size=1, max_size=4), min_size=1, max_size=2).map(" ".join)
sections = st.lists(st.tuples(st.integers(1, 3), headings, st.lists(blocks, max_size=4)), max_size=5)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    above: list[str] = []
    made = [DocumentSection(("Title",), tuple(draw(st.lists(blocks, max_size=2))))]
    for depth, heading, inside in draw(sections):
        above = [*above[: depth - 1], heading]
        made.append(DocumentSection(("Title", *above), tuple(inside)))
    return Document("c/x.md", "Title", tuple(made))


REPEATED = re.compile(r"^(?:\| HEAD \||\|---\||```python|```)$", re.MULTILINE)


def list_words(text: str) -> list[str]:
    return REPEATED.sub("", text).split()


def list_expected_words(document: Document) -> list[str]:
    """What the chunks' texts hold besides repeated lines: the blocks, and headings above nothing."""
    expected = []
    for at, section in enumerate(document.sections):
        following = document.sections[at + 1 : at + 2]
        if not section.blocks and not any(len(other.headings) > len(section.headings) for other in following):
            expected += section.headings[-1].split()
        expected += [word for block in section.blocks for word in list_words(block.whole)]
    return expected


@given(documents(), st.sampled_from(COUNTS), st.integers(80, 300))
def test_all_words_are_in_the_chunks_once_and_in_order(document: Document, count: Count, max_tokens: int) -> None:
    chunks = cut(document, max_tokens, count)
    found = [word for chunk in chunks for word in list_words(chunk.text)]
    assert found == list_expected_words(document)
    for chunk in chunks:
        assert chunk.tokens == count([show_chunk(chunk.headings, chunk.text)])[0] <= max_tokens
        assert chunk.text == chunk.text.strip("\n") != ""
    assert max(Counter(chunk.id for chunk in chunks).values(), default=1) == 1


@given(st.lists(st.one_of(words, long_word), min_size=1, max_size=40), st.sampled_from(COUNTS), st.integers(32, 64))
def test_a_word_is_cut_only_if_it_alone_is_too_long(parts: list[str], count: Count, max_tokens: int) -> None:
    document = Document("c/x.md", "T", (DocumentSection(("T",), (TextBlock("prose", " ".join(parts)),)),))
    chunks = cut(document, max_tokens, count)
    assert all(chunk.tokens <= max_tokens for chunk in chunks)
    assert "".join("".join(chunk.text.split()) for chunk in chunks) == "".join(parts)
    whole = Counter(part for part in parts if count([f" {part}"])[0] <= max_tokens // 3)
    found = Counter(word for chunk in chunks for word in chunk.text.split())
    assert not whole - found


wide_gaps = st.sampled_from([" ", "\n", "\n" + " \n" * 160, "\u3000" * 80, "\t" * 200, " \n\u3000" * 50])


@given(
    st.lists(st.tuples(words, wide_gaps), min_size=1, max_size=20),
    st.sampled_from([("prose", "", ""), ("lines", "", ""), ("list", "", ""), ("code", "```python", "```")]),
    st.sampled_from(COUNTS),
    st.integers(40, 160),
)
def test_however_much_space_is_between_words_none_is_cut_or_lost(
    parts: list[tuple[str, str]], block: tuple[Any, str, str], count: Count, max_tokens: int
) -> None:
    kind, opening, closing = block
    text = "".join(word + gap for word, gap in parts).rstrip()
    document = Document("c/x.md", "T", (DocumentSection(("T",), (TextBlock(kind, text, opening, closing),)),))
    chunks = cut(document, max_tokens, count)
    assert all(chunk.tokens <= max_tokens for chunk in chunks)
    found = [word for chunk in chunks for word in list_words(chunk.text)]
    whole = [word for word, _ in parts]
    assert "".join(found) == "".join(whole)
    assert found == whole or max(count([f" {word}" for word in whole])) > max_tokens // 4


@settings(max_examples=30)
@given(st.lists(documents(), min_size=2, max_size=4), st.integers(1, 400))
def test_what_is_cut_together_does_not_matter(several: list[Document], window: int) -> None:
    alone = [chunk for document in several for chunk in cut(document, 60)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "_WINDOW", window)
        assert list(cut_documents(several, 60, count_words)) == alone


@settings(max_examples=30)
@given(documents(), st.sampled_from(COUNTS[2:]))
def test_the_begin_of_a_text_that_is_far_too_long_is_enough_to_cut_it(document: Document, count: Count) -> None:
    whole = cut(document, 40, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "_SAMPLE", 6)
        assert cut(document, 40, count) == whole


@pytest.mark.parametrize("kind", ["prose", "code", "list"])
def test_of_a_block_of_any_size_no_long_text_is_counted(kind: Any) -> None:
    text = "\n".join(f"- line {n} of a long log." for n in range(5000))
    document = Document("c/x.log", "T", (DocumentSection(("T",), (TextBlock(kind, text),)),))
    longest = []
    count = count_by(_TOKENIZERS[0])

    def spy(texts: Sequence[str]) -> list[int]:
        longest.append(max(map(len, texts), default=0))
        return count(texts)

    cut(document, 64, spy)
    assert max(longest) <= 64 * cutting._SAMPLE < len(text) / 50


@settings(max_examples=60)
@given(documents())
def test_each_piece_of_a_table_begins_with_its_head_and_each_piece_of_code_is_fenced(document: Document) -> None:
    for chunk in cut(document, 60):
        assert len(re.findall("^```", chunk.text, re.MULTILINE)) % 2 == 0
        rows = [line for line in chunk.text.split("\n") if line.startswith("|")]
        assert not rows or rows[0] == "| HEAD |"


# --- where it is cut


def test_neighbours_of_a_section_share_a_chunk_and_sections_do_not() -> None:
    document = read("# T\n\nOne.\n\nTwo.\n\n## A\n\nThree.\n\n## B\n\nFour.\n\n- five\n")
    assert [(chunk.id, chunk.headings, chunk.text) for chunk in cut(document, 40)] == [
        ("c/note.md", ["T"], "One.\n\nTwo."),
        ("c/note.md#a", ["T", "A"], "Three."),
        ("c/note.md#b", ["T", "B"], "Four.\n\n- five"),
    ]


def test_a_code_block_that_fits_alone_is_not_cut_to_fill_the_chunk_before_it() -> None:
    code = "```\n" + "\n".join(f"a{n} b{n} c{n}" for n in range(8)) + "\n```"
    chunks = cut(read(f"# T\n\n{'word ' * 20}\n\n{code}\n"), 32)
    assert [chunk.text for chunk in chunks] == [("word " * 20).strip(), code]


def test_a_long_table_is_cut_between_rows() -> None:
    rows = [f"| {n} | some cell text |" for n in range(20)]
    chunks = cut(read("# T\n\n| N | Text |\n|---|---|\n" + "\n".join(rows)), 40)
    assert len(chunks) > 2
    assert all(chunk.text.startswith("| N | Text |\n|---|---|\n| ") for chunk in chunks)
    assert [row for chunk in chunks for row in chunk.text.split("\n")[2:]] == rows


def test_the_head_of_a_table_that_would_leave_no_room_stands_once() -> None:
    head = f"| {' '.join(f'h{n}' for n in range(25))} |"
    chunks = cut(read(f"# T\n\n{head}\n|---|\n" + "\n".join(f"| r{n} |" for n in range(20))), 40)
    assert sum("h0 " in chunk.text for chunk in chunks) == 1
    assert [f"r{n}" for n in range(20)] == re.findall(r"r\d+", "".join(chunk.text for chunk in chunks))


def test_two_tables_of_one_head_stay_two() -> None:
    table = "| A |\n|---|\n" + "\n".join(f"| cell {n} of it |" for n in range(6))
    texts = [chunk.text for chunk in cut(read(f"# T\n\n{table}\n\n{table}\n"), 32)]
    assert all("cell 5 of it |\n| cell 0" not in text for text in texts)


def test_a_long_paragraph_is_cut_behind_sentences_and_not_behind_abbreviations() -> None:
    text = " ".join(f"Sentence {n} ends here, e.g. Here, i.e. There, see Sec. Four of no. Five." for n in range(12))
    chunks = cut(read(f"# T\n\n{text}\n"), 40)
    assert len(chunks) > 3
    assert all(re.fullmatch(r"Sentence \d.*Five\.", chunk.text) for chunk in chunks)


def test_a_long_list_is_cut_between_its_items_and_not_at_the_items_below() -> None:
    items = [f"{n}. item {n} has\n   more\n   - inner a{n}\n   - inner b{n}" for n in range(1, 10)]
    chunks = cut(read("# T\n\n" + "\n".join(items)), 40)
    assert len(chunks) > 2
    assert all(re.match(r"\d+\. item", chunk.text) for chunk in chunks)
    assert "\n".join(chunk.text for chunk in chunks) == "\n".join(items)


def test_code_keeps_its_indents_and_its_empty_lines() -> None:
    code = "\n".join(f"def f{n}():\n    return {n}\n" for n in range(20)).rstrip()
    chunks = cut(read(f"# T\n\n```python\n{code}\n```\n"), 40)
    inner = [chunk.text.removeprefix("```python\n").removesuffix("\n```") for chunk in chunks]
    assert len(inner) > 2
    assert all("\n    return" in piece for piece in inner)
    assert [line for piece in inner for line in piece.split("\n") if line] == [x for x in code.split("\n") if x]


# --- headings


def test_a_heading_above_nothing_is_text() -> None:
    document = read("# T\n\n## Ports\n\n### TCP 179\n\n## Void\n\n## Last\n\nText.\n")
    assert [(chunk.id, chunk.headings, chunk.text) for chunk in cut(document, 40)] == [
        ("c/note.md#ports/tcp-179", ["T", "Ports"], "TCP 179"),
        ("c/note.md#void", ["T"], "Void"),
        ("c/note.md#last", ["T", "Last"], "Text."),
    ]


def test_headings_that_take_too_much_are_cut_and_no_word_of_them_is_lost() -> None:
    middle, last = " ".join(f"m{n}" for n in range(30)), " ".join(f"z{n}" for n in range(50))
    chunks = cut(read(f"# T\n\n## {middle}\n\n### {last}\n\nText {'of it. ' * 30}\n"), 40)
    assert {tuple(chunk.headings[:1]) for chunk in chunks} == {("T",)}
    assert all(chunk.headings[-1].startswith("z0 z1 ") and chunk.headings[-1].endswith("...") for chunk in chunks[1:])
    text = " ".join(chunk.text for chunk in chunks)
    assert re.findall(r"m\d+", text) == middle.split()
    assert re.findall(r"z\d+", text) == last.split()


def test_a_title_of_one_endless_word_leaves_room_for_text() -> None:
    count = count_by(_TOKENIZERS[0])
    chunks = cut(read(f"# {'x' * 3000}\n\nSome text.\n"), 64, count)
    assert all(chunk.tokens <= 64 for chunk in chunks)
    assert "".join(chunk.text for chunk in chunks).count("x") == 3000 + "Some text.".count("x")
    assert chunks[-1].text.endswith("Some text.")


@pytest.mark.parametrize("rest", ["(archived)", "seen on " + "many days " * 40, "x"])
def test_a_heading_whose_first_word_is_endless_is_cut_within_it(rest: str) -> None:
    link = f"https://example.org/{'a/1' * 92}"
    for count, max_tokens in itertools.product(map(count_by, _TOKENIZERS), (32, 64, 160)):
        chunks = cut(read(f"# T\n\n## {link} {rest}\n\nSome text.\n"), max_tokens, count)
        assert all(chunk.tokens <= max_tokens for chunk in chunks)
        assert all(link.startswith(chunk.headings[1].removesuffix("...")) for chunk in chunks)
        assert "".join("".join(chunk.text.split()) for chunk in chunks) == f"{link}{rest}Sometext.".replace(" ", "")


# --- the stream


def test_chunks_come_while_documents_are_still_read() -> None:
    read_so_far = []

    def endless() -> Iterator[Document]:
        for number in itertools.count():
            read_so_far.append(number)
            yield read(f"# Note {number}\n\n" + "Some words of it. " * 1000, f"c/{number}.md")

    chunks = list(itertools.islice(cut_documents(endless(), 160, count_words), 2000))
    assert chunks[0].document == "c/0.md"
    assert len(read_so_far) < 100


def test_a_limit_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match=f"at least {LEAST_TOKENS}"):
        cut(read("# T\n\ntext"), LEAST_TOKENS - 1)


def test_no_documents_are_no_chunks() -> None:
    assert list(cut_documents([], 160, count_words)) == []
