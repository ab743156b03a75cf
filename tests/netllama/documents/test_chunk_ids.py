"""Ids: readable, all different, and moved by no edit elsewhere."""

from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.documents.chunk_ids import iter_section_ids, make_slug
from netllama.documents.cutting import cut_documents
from netllama.documents.document import Document
from netllama.documents.markdown_reader import read_markdown
from netllama.documents.outline import build_document


def read(text: str, path: str = "c/n.md") -> Document:
    return build_document(path, read_markdown(text))


def test_a_slug_keeps_numbers_and_letters_of_any_script() -> None:
    slugs = {
        "5.3.5.1 The “Hold Timer”": "5.3.5.1-the-hold-timer",
        "4.1.  Message Header Format": "4.1-message-header-format",
        "Appendix F.1.  Multiple Networks": "appendix-f.1-multiple-networks",
        "AS_PATH & NEXT_HOP": "as_path-next_hop",
        "Straße 東京": "strasse-東京",
        "Was it ever v1.2.3?": "was-it-ever-v1.2.3",
        "***": "-",
    }
    assert {heading: make_slug(heading) for heading in slugs} == slugs


def test_equal_headings_get_ordinals_below_the_same_one() -> None:
    text = "# T\n\n## A\n\n### Example\n\n### Example\n\n## B\n\n### Example\n\n## A\n\n### Example\n\n## a!\n\n## A 2"
    assert list(iter_section_ids(read(text))) == [
        "c/n.md",
        "c/n.md#a",
        "c/n.md#a/example",
        "c/n.md#a/example:2",
        "c/n.md#b",
        "c/n.md#b/example",
        "c/n.md#a:2",
        "c/n.md#a:2/example",
        "c/n.md#a:3",
        "c/n.md#a-2",
    ]


def test_a_path_can_not_look_like_a_heading() -> None:
    assert list(iter_section_ids(read("# T\n\n## A\n", "c/x#a%23.md"))) == ["c/x%23a%2523.md", "c/x%23a%2523.md#a"]


names = st.lists(st.text("abcdefgh", min_size=1, max_size=5), min_size=3, max_size=8, unique=True)
texts = st.lists(st.text("xyz .\n", max_size=200), min_size=12, max_size=12)


def write_note(headings: list[str], bodies: list[str]) -> str:
    parts = [f"## {heading}\n\n{body}\n" for heading, body in zip(headings, bodies, strict=False)]
    return "# Title\n\nIntroduction.\n\n" + "\n".join(parts)


def ids_by_section(text: str) -> dict[str, list[tuple[str, str]]]:
    """By heading, id and text of its chunks."""
    found: dict[str, list[tuple[str, str]]] = {}
    chunks = cut_documents([read(text)], 32, lambda all_texts: [len(one.split()) for one in all_texts])
    for chunk in chunks:
        found.setdefault(chunk.headings[-1], []).append((chunk.id, chunk.text))
    return found


@settings(max_examples=80)
@given(names, texts, texts, st.data())
def test_an_edit_moves_no_id_elsewhere(
    headings: list[str], bodies: list[str], others: list[str], data: st.DataObject
) -> None:
    before = ids_by_section(write_note(headings, bodies))
    place = data.draw(st.integers(0, len(headings) - 1))
    edit = data.draw(st.sampled_from(["write", "insert", "delete", "rename"]))
    new_headings, new_bodies = list(headings), list(bodies)
    if edit == "insert":
        new_headings.insert(place, "new")
        new_bodies.insert(place, others[place])
    elif edit == "delete":
        del new_headings[place], new_bodies[place]
    elif edit == "rename":
        new_headings[place] = "other"
    else:
        new_bodies[place] = others[place]
    after = ids_by_section(write_note(new_headings, new_bodies))
    untouched = set(headings) - ({headings[place]} if edit != "insert" else set())
    for heading in untouched:
        assert before.get(heading) == after.get(heading)


def test_another_top_heading_at_the_end_and_an_edited_title_move_no_id() -> None:
    text = "# Title\n\nIntro.\n\n## A\n\nText.\n"
    ids = list(iter_section_ids(read(text)))
    assert list(iter_section_ids(read(text + "\n# Second\n\nMore.\n")))[:2] == ids
    assert list(iter_section_ids(read(text.replace("Title", "Better title")))) == ids
