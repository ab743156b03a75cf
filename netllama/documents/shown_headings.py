"""Which headings stand above the chunks of a section, so that they leave room for the text.

No word is lost by that: a heading that no chunk shows whole becomes text of its section, and so does a heading above
nothing at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netllama.documents.document import Document, DocumentSection, TextBlock, show_chunk

CountTokens = Callable[[Sequence[str]], list[int]]
"""The number of tokens of each text, of the model's tokenizer."""
_CUT = "..."


@dataclass(frozen=True)
class ShownSection:
    """A section as it goes into chunks."""

    headings: list[str]
    blocks: list[TextBlock]


def show_sections(documents: Sequence[Document], limit: int, count_tokens: CountTokens) -> list[list[ShownSection]]:
    """The sections of each document, with headings that take at most `limit` tokens."""
    whole = {section.headings for document in documents for section in document.sections}
    whole |= {headings[:-1] for headings in whole}
    listed = sorted(whole)
    counts = count_tokens([show_chunk(headings, "") for headings in listed])
    shown = {
        headings: list(headings) if count <= limit else shorten_headings(headings, limit, count_tokens)
        for headings, count in zip(listed, counts, strict=True)
    }
    return [_show_document(document.sections, shown) for document in documents]


def _show_document(sections: Sequence[DocumentSection], shown: dict[tuple[str, ...], list[str]]) -> list[ShownSection]:
    """`shown`: for the headings of each section and of what it stands in, those that are shown."""

    def list_shown(at: int) -> list[str]:
        headings = sections[at].headings
        return shown[headings] if sections[at].blocks or not _is_innermost(sections, at) else shown[headings[:-1]]

    result = []
    for at, section in enumerate(sections):
        holder = at
        while not sections[holder].blocks and not _is_innermost(sections, holder):
            holder += 1
        own = section.headings[-1]
        is_text = own not in list_shown(holder) or (holder == at and not section.blocks)
        blocks = [TextBlock("prose", own), *section.blocks] if is_text else list(section.blocks)
        result.append(ShownSection(list_shown(at), blocks))
    return result


def _is_innermost(sections: Sequence[DocumentSection], at: int) -> bool:
    return at + 1 == len(sections) or len(sections[at + 1].headings) <= len(sections[at].headings)


def shorten_headings(headings: Sequence[str], limit: int, count_tokens: CountTokens) -> list[str]:
    """First those between the title and the last one go, the outermost before the inner ones; then ends are cut off."""
    kept = list(headings)
    while len(kept) > 2 and _count(kept, count_tokens) > limit:
        del kept[1]
    if _count(kept, count_tokens) > limit:
        share = limit // len(kept) - 2  # for what stands between and behind them
        kept = [_cut_heading(heading, share, count_tokens) for heading in kept]
    return kept


def _count(headings: Sequence[str], count_tokens: CountTokens) -> int:
    return count_tokens([show_chunk(headings, "")])[0]


def _cut_heading(heading: str, limit: int, count_tokens: CountTokens) -> str:
    """As many words as fit, or as many characters of the first one."""
    if count_tokens([heading])[0] <= limit:
        return heading
    words = heading.split()
    cuts = [" ".join(words[:number]) + _CUT for number in range(1, len(words))]
    if not cuts or count_tokens([cuts[0]])[0] > limit:
        cuts = [words[0][:number] + _CUT for number in range(1, len(words[0]) + 1)]
    low, high = 0, len(cuts) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count_tokens([cuts[middle]])[0] <= limit else (low, middle - 1)
    return cuts[low]
