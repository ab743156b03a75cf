"""Texts that share their beginnings as padded tensors in which each shared token stands once.

A question with four options is four texts with one beginning. Instead of four rows it becomes one: the context, then
the options behind each other, each of which attends to the context and to itself (a tree of depth two, as in the
tree attention of speculative decoding, arXiv 2305.09781). Of the context's last token the scores of all first tokens
are read; an option's last token predicts nothing, so it is not read at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CONTEXT, PADDING = 0, -1
PADDING_SHARE = 16
"""Of a batch's most tokens, one in so many may be padding: that is 128 on a CPU, about what a batch costs anyway."""


@dataclass(frozen=True)
class Continued:
    """A context, and texts that go on from it, each on its own: token ids, none of them empty."""

    context: Sequence[int]
    continuations: Sequence[Sequence[int]]

    def __post_init__(self) -> None:
        if not self.context or not all(self.continuations):
            raise ValueError("a context and its continuations have at least one token each")

    @property
    def width(self) -> int:
        """Tokens of the context and of the continuations without the last one of each, which predicts nothing."""
        return len(self.context) + sum(len(each) - 1 for each in self.continuations)


@dataclass(frozen=True)
class PackedBatch:
    """Rows [B, T], one a `Continued`, and the tokens to score."""

    input_ids: "torch.Tensor"
    position_ids: "torch.Tensor"
    """[B, T]; those of a continuation follow its context's, whatever stands between them."""
    visible: "torch.Tensor | None"
    """[B, 1, T, P + T]: what each position attends to, after P tokens that all rows share; None: all before it."""
    predicts: "torch.Tensor"
    """[B, T]: the positions of which scores are read, N in all, row by row."""
    sources: "torch.Tensor"
    """[S]: for each token to score, which of these N positions it follows."""
    targets: "torch.Tensor"
    """[S]: the tokens to score: continuation after continuation, row after row."""


def cut_shared_beginning(texts: Sequence[Continued]) -> tuple[Sequence[int], list[Continued]]:
    """What all contexts begin with, and the texts without it; at least one token of each context is left."""
    if len(texts) < 2:
        return [], list(texts)
    shortest = min(len(text.context) for text in texts)
    columns = zip(*(text.context[: shortest - 1] for text in texts), strict=True)
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    return texts[0].context[:shared], [Continued(text.context[shared:], text.continuations) for text in texts]


def batch_by_tokens(widths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Positions in batches of at most `tokens` tokens, padding included, by falling width; a wider one stands alone.

    A batch ends early where more than a 16th of `tokens` would be padding: to compute that takes longer than to begin
    another batch.
    """
    batch: list[int] = []
    padding = 0
    for position in sorted(range(len(widths)), key=lambda position: (-widths[position], position)):
        if batch:
            widest = widths[batch[0]]
            padding += widest - widths[position]
            if (len(batch) + 1) * widest > tokens or padding > tokens // PADDING_SHARE:
                yield batch
                batch, padding = [], 0
        batch.append(position)
    if batch:
        yield batch


def pack_batch(texts: Sequence[Continued], offset: int) -> PackedBatch:
    """`texts`, which follow `offset` tokens that they share, as one batch."""
    import torch

    width = max(text.width for text in texts)
    shape = (len(texts), width)
    input_ids, position_ids = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    # Which text each position is part of: the context, continuation 1, 2, ... or none.
    parts = torch.full(shape, PADDING)
    predicts = torch.zeros(shape, dtype=torch.bool)
    sources: list[int] = []
    targets: list[int] = []
    read = 0  # positions of which scores are read, up to here
    for row, text in enumerate(texts):
        length = len(text.context)
        ids, places, own = list(text.context), list(range(length)), [CONTEXT] * length
        predicts[row, length - 1 : text.width] = True
        inner = 1
        for number, continuation in enumerate(text.continuations, start=1):
            rest = len(continuation) - 1
            ids += continuation[:-1]
            places += range(length, length + rest)
            own += [number] * rest
            sources += [read, *range(read + inner, read + inner + rest)]
            targets += continuation
            inner += rest
        read += inner
        input_ids[row, : text.width] = torch.tensor(ids)
        position_ids[row, : text.width] = torch.tensor(places) + offset
        parts[row, : text.width] = torch.tensor(own)
    branches = any(len(text.continuations) > 1 for text in texts)
    visible = _list_visible(parts, offset) if branches or offset else None
    return PackedBatch(input_ids, position_ids, visible, predicts, torch.tensor(sources), torch.tensor(targets))


def _list_visible(parts: "torch.Tensor", offset: int) -> "torch.Tensor":
    """[B, 1, T, offset + T]: each position attends to what is shared, to its context and to its own text before it."""
    import torch

    rows, width = parts.shape
    before = torch.ones(width, width, dtype=torch.bool).tril()
    looked_at, looking = parts[:, None, :], parts[:, :, None]
    own = before & ((looked_at == CONTEXT) | (looked_at == looking))
    return torch.cat([torch.ones(rows, width, offset, dtype=torch.bool), own], dim=-1)[:, None]
