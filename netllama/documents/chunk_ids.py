"""Ids of chunks, which an edit elsewhere in the corpus doesn't move.

`corpus/bgp/add-path.md#capability/format~2` is the second piece of the section `Format` below `Capability`. The title
is no part of an id, so a piece from below the title alone is `corpus/bgp/add-path.md`. Of headings of one slug below
the same one, the second has `:2` behind it.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

from netllama.documents.document import Document

_JOINTS = re.compile(r"[^\w.]+")
_LOOSE_DOTS = re.compile(r"(?<![0-9a-z])\.|\.(?![0-9a-z])")


def make_slug(heading: str) -> str:
    """`5.3.5.1 The "Hold Timer"` is `5.3.5.1-the-hold-timer`; `-` for a heading without a letter or a digit."""
    text = unicodedata.normalize("NFKC", heading).casefold()
    return _JOINTS.sub("-", _LOOSE_DOTS.sub(" ", text)).strip("-") or "-"


def iter_section_ids(document: Document) -> Iterator[str]:
    """An id for each section of the document, all different."""
    path = document.path.replace("%", "%25").replace("#", "%23")
    seen: Counter[tuple[str, ...]] = Counter()
    above: list[str] = []
    for section in document.sections:
        depth = len(section.headings) - 1
        if not depth:
            yield path
            continue
        place = (*above[: depth - 1], make_slug(section.headings[-1]))
        seen[place] += 1
        above = [*place[:-1], place[-1] if seen[place] == 1 else f"{place[-1]}:{seen[place]}"]
        yield f"{path}#{'/'.join(above)}"


def number_pieces(section_id: str, count: int) -> Sequence[str]:
    return [section_id if number == 1 else f"{section_id}~{number}" for number in range(1, count + 1)]
