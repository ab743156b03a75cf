"""Documents into chunks of at most `max_tokens`, cut at headings and at block borders.

Small neighbouring blocks of a section share a chunk. A block that is too long is cut where that hurts least
(block_splitting.py): a table between rows and code between lines, with the opening and closing lines repeated in each
piece; a list between items; a paragraph behind a sentence, and only where a sentence is too long, between words.

Tokens are counted for many texts at once: all blocks of some documents, then the pieces of the long ones, then the
chunks that came out. The sum over blocks plans a chunk, the count of the whole decides.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from netllama.documents.block_splitting import SPLITTERS, Splitter
from netllama.documents.chunk_ids import iter_section_ids, number_pieces
from netllama.documents.document import Chunk, Document, TextBlock, show_chunk
from netllama.documents.open_statements import ListingBlock, Surroundings, list_surroundings, shorten
from netllama.documents.shown_headings import CountTokens, show_sections

LEAST_TOKENS = 32
"""A smaller chunk has no room for headings, the head of a table and a character of text."""
_WINDOW = 1 << 18
"""Characters of documents that are cut together."""
_SAMPLE = 32
"""Characters for each token of a chunk: of a text that is longer, its begin nearly always shows that it is too long."""
BETWEEN_BLOCKS = "\n\n"
_UNCOUNTED = -1


@dataclass(frozen=True, eq=False)
class _Wrap:
    """What stands around a piece of a table or of code, or around one line of a listing."""

    opening: str
    closing: str
    tokens: int
    closing_tokens: int
    run: object
    """The same for all that is cut from one block: neighbours in a chunk stand between one opening and one closing."""


@dataclass(eq=False, slots=True)
class _Atom:
    """Text that is cut only if it alone is too long for a chunk."""

    joint: str
    """What stands in front of it; left out where a chunk begins with it."""
    text: str
    block: TextBlock | None = None
    """What it is, if it is a whole block."""
    wrap: _Wrap | None = None
    splitters: Sequence[Splitter] = ()
    """Ways to cut a part of a block, the coarsest first."""
    tokens: int = _UNCOUNTED


@dataclass(eq=False)
class _Cut:
    """A section on its way into chunks."""

    id: str
    document: str
    headings: list[str]
    room: int
    """Tokens that the headings leave."""
    atoms: list[_Atom]


@dataclass(eq=False)
class _Piece:
    """What may be a chunk of the section `cut`."""

    cut: _Cut
    atoms: list[_Atom]
    tokens: int = _UNCOUNTED


def cut_documents(documents: Iterable[Document], max_tokens: int, count_tokens: CountTokens) -> Iterator[Chunk]:
    """The chunks of each document in the order of its text.

    All words of a document are in its chunks, once and in their order, besides the headings, which stand above every
    chunk, and the repeated lines of tables and code. No chunk takes more than `max_tokens`.
    """
    if max_tokens < LEAST_TOKENS:
        raise ValueError(f"max_tokens is {max_tokens}; a chunk takes at least {LEAST_TOKENS}")
    cutter = _Cutter(max_tokens, count_tokens)
    for window in _gather(documents):
        yield from cutter.cut(window)


def _gather(documents: Iterable[Document]) -> Iterator[list[Document]]:
    window, size = list[Document](), 0
    for document in documents:
        window.append(document)
        size += sum(len(block.text) for section in document.sections for block in section.blocks)
        if size >= _WINDOW:
            yield window
            window, size = [], 0
    if window:
        yield window


class _Cutter:
    def __init__(self, max_tokens: int, count_tokens: CountTokens) -> None:
        self.max_tokens = max_tokens
        self.count_tokens = count_tokens

    def cut(self, documents: Sequence[Document]) -> Iterator[Chunk]:
        cuts = self._begin(documents)
        self._split_long_atoms(cuts)
        pieces = [_Piece(cut, atoms) for cut in cuts for atoms in _pack(cut)]
        for cut, group in groupby(self._halve_long_pieces(pieces), key=lambda piece: piece.cut):
            of_section = list(group)
            for id, piece in zip(number_pieces(cut.id, len(of_section)), of_section, strict=True):
                text = _join(piece.atoms)
                yield Chunk(id=id, document=cut.document, headings=cut.headings, text=text, tokens=piece.tokens)

    def _begin(self, documents: Sequence[Document]) -> list[_Cut]:
        """Every section with its blocks as atoms."""
        cuts = []
        listed = show_sections(documents, self.max_tokens // 2, self.count_tokens)
        for document, sections in zip(documents, listed, strict=True):
            for id, section in zip(iter_section_ids(document), sections, strict=True):
                cuts.append(
                    _Cut(
                        id,
                        document.path,
                        section.headings,
                        0,
                        [_Atom(BETWEEN_BLOCKS, block.whole, block) for block in section.blocks],
                    )
                )
        counts = self.count_tokens([show_chunk(cut.headings, "") for cut in cuts])
        for cut, count in zip(cuts, counts, strict=True):
            cut.room = self.max_tokens - count
        return cuts

    def _split_long_atoms(self, cuts: Sequence[_Cut]) -> None:
        """Until each one fits into a chunk of its section."""
        while cuts:
            uncounted = [atom for cut in cuts for atom in cut.atoms if atom.tokens == _UNCOUNTED]
            for atom, count in zip(uncounted, self._estimate([a.joint + a.text for a in uncounted]), strict=True):
                atom.tokens = count
            cuts = [cut for cut in cuts if any(_is_long(atom, cut.room) for atom in cut.atoms)]
            for cut in cuts:
                cut.atoms = [
                    part
                    for atom in cut.atoms
                    for part in (self._split(atom, cut.room) if _is_long(atom, cut.room) else [atom])
                ]

    def _estimate(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text; of one that is far too long, that of its begin."""
        length = self.max_tokens * _SAMPLE
        counts = self.count_tokens([text[:length] for text in texts])
        for at, (text, count) in enumerate(zip(texts, counts, strict=True)):
            if len(text) > length and count < 2 * self.max_tokens:
                counts[at] = self.count_tokens([text])[0]
        return counts

    def _split(self, atom: _Atom, room: int) -> list[_Atom]:
        """The parts of an atom, uncounted; or the atom with less space in front, if that alone is too much."""
        text, wrap, splitters = atom.text, atom.wrap, atom.splitters
        if len(atom.joint) > len(BETWEEN_BLOCKS):
            close = replace(atom, joint="\n" if "\n" in atom.joint else " ", tokens=self._estimate([text])[0])
            if not _is_long(close, room):
                return [replace(close, tokens=_UNCOUNTED)]
        if atom.block:
            splitters = SPLITTERS[atom.block.kind]
            wrap = self._make_wrap(atom.block, room)
            text = atom.block.text if wrap else text
        first, *rest = splitters
        parts = first(text)
        if len(parts) == 1 and not rest:
            raise ValueError(f"max_tokens is {self.max_tokens}: too few for the character {text!r}")
        joints = [atom.joint, *(joint for joint, _ in parts[1:])]
        wraps = [wrap] * len(parts)
        if wrap and isinstance(atom.block, ListingBlock):
            wraps = [*self._wrap_lines(atom.block, wrap, room)]
        return [
            _Atom(joint, part, wrap=wrap, splitters=rest or splitters)
            for joint, (_, part), wrap in zip(joints, parts, wraps, strict=True)
        ]

    def _make_wrap(self, block: TextBlock, room: int) -> _Wrap | None:
        """None: there is nothing to repeat, or it would leave too little room for what is between."""
        if not block.opening:
            return None
        whole, closing = self.count_tokens([f"{block.opening}\n\n{block.closing}", f"\n{block.closing}"])
        return _Wrap(block.opening, block.closing, whole, closing, object()) if whole <= room // 2 else None

    def _wrap_lines(self, block: ListingBlock, outermost: _Wrap, room: int) -> list[_Wrap]:
        """For each line of a listing what is open there, shortened where that takes too much.

        The brackets stay, so that those of a chunk from one line to another are balanced. The outermost statement
        alone is taken where even they are too many.
        """
        surroundings = list_surroundings(block, room * _SAMPLE)
        wraps: dict[Surroundings, _Wrap] = {}
        forms: list[tuple[Callable[[Surroundings], Surroundings], int]] = [
            (lambda pair: pair, room // 2),
            (lambda pair: shorten(pair, innermost=1), room // 2),
            (lambda pair: shorten(pair, innermost=0), room * 3 // 4),
        ]
        for form, most in forms:
            left = [pair for pair in dict.fromkeys(surroundings) if pair not in wraps]
            shown = [form(pair) for pair in left]
            wholes = self.count_tokens([f"{opening}\n\n{closing}" for opening, closing in shown])
            closings = self.count_tokens([f"\n{closing}" for _, closing in shown])
            for pair, texts, whole, closing in zip(left, shown, wholes, closings, strict=True):
                if whole <= most:
                    wraps[pair] = _Wrap(*texts, whole, closing, outermost.run)
        return [wraps.get(pair, outermost) for pair in surroundings]

    def _halve_long_pieces(self, pieces: list[_Piece]) -> list[_Piece]:
        """The sum over atoms only estimates what their joined text takes: what is too long after all is cut again."""
        while uncounted := [piece for piece in pieces if piece.tokens == _UNCOUNTED]:
            texts = [show_chunk(piece.cut.headings, _join(piece.atoms)) for piece in uncounted]
            for piece, count in zip(uncounted, self.count_tokens(texts), strict=True):
                piece.tokens = count
            pieces = [
                part for piece in pieces for part in (self._halve(piece) if piece.tokens > self.max_tokens else [piece])
            ]
        return pieces

    def _halve(self, piece: _Piece) -> list[_Piece]:
        atoms = piece.atoms
        while len(atoms) == 1:
            atoms = self._split(atoms[0], piece.cut.room)
        middle = len(atoms) // 2
        return [_Piece(piece.cut, atoms[:middle]), _Piece(piece.cut, atoms[middle:])]


def _is_long(atom: _Atom, room: int) -> bool:
    return atom.tokens + (atom.wrap.tokens if atom.wrap else 0) > room


def _pack(cut: _Cut) -> Iterator[list[_Atom]]:
    """The atoms of each chunk: as many neighbours as fit."""
    group, size = list[_Atom](), 0
    for atom in cut.atoms:
        added = atom.tokens + _count_wrap(atom.wrap, group[-1].wrap if group else None)
        if group and size + added > cut.room:
            yield group
            group, size, added = [], 0, atom.tokens + _count_wrap(atom.wrap, None)
        group.append(atom)
        size += added
    if group:
        yield group


def _count_wrap(wrap: _Wrap | None, before: _Wrap | None) -> int:
    """The tokens that it adds behind an atom with the wrap `before`."""
    if not wrap:
        return 0
    return wrap.closing_tokens - before.closing_tokens if before and before.run is wrap.run else wrap.tokens


def _join(atoms: Sequence[_Atom]) -> str:
    """The text of a chunk; around parts of one block stand the opening of the first and the closing of the last."""
    text = ""
    for _, group in groupby(atoms, key=lambda atom: atom.wrap and id(atom.wrap.run)):
        run = list(group)
        inner = run[0].text + "".join(atom.joint + atom.text for atom in run[1:])
        first, last = run[0].wrap, run[-1].wrap
        whole = "\n".join(filter(None, (first.opening, inner, last.closing))) if first and last else inner
        text += (run[0].joint if text else "") + whole
    return text
