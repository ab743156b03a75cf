"""Which rows are trained on at which step: a plan that is a function of lengths, params, seed and epoch alone.

A step takes `per_device_train_batch_size * gradient_accumulation_steps * processes` rows. They are chosen first and cut
into batches afterwards, so that 8 x 1, 4 x 2 and 1 x 8 (and two processes of half as many) see the same rows
at the same step, and a run that goes on at step k needs nothing but k.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

# Rows are sorted within runs of this many steps, as in transformers' LengthGroupedSampler: over all of them, the order
# of training would be the order of lengths.
GROUPED_STEPS = 50

# A batch goes through a CPU in pieces of at most this many tokens, padding included, since the memory of a step is that
# of one piece. With AMX, 1,024 makes a step of r=64 take a sixth longer; 1,536 takes 230 MB more and 7% less time.
PIECE = 1280
# In fp32, where a token takes twice the memory: with 1,280 the default peaked at 3,012 MB.
FULL_PIECE = 1024

T = TypeVar("T")
Batch = list[int]
"""Positions of rows that go through the model together."""


@dataclass(frozen=True)
class BatchPlan:
    """How rows become the batches of each step, on each of `processes`."""

    lengths: Sequence[int]
    seed: int
    rows: int
    """Of a batch."""
    accumulation: int
    processes: int
    group_by_length: bool
    kinds: Sequence[str] = ()
    """With `group_by_length`: rows of a kind go together, where there are several. Beside answers of hundreds of tokens
    those of a few tokens would weigh nothing in a batch's mean loss. Empty: all rows are of one kind."""

    def steps(self) -> Iterator[list[Batch]]:
        """The batches of each step, epoch after epoch without end; process p takes those at p, p + processes, ..."""
        for epoch in itertools.count():
            yield from self.epoch(epoch)

    def epoch(self, epoch: int) -> list[list[Batch]]:
        """All rows once. One step of an epoch may have fewer rows."""
        draw = random.Random(f"{self.seed}/{epoch}")
        order = list(range(len(self.lengths)))
        draw.shuffle(order)
        if not self.group_by_length:
            return self._cut(order)
        whole = self.rows * self.accumulation * self.processes * GROUPED_STEPS
        # What is left over joins the last run: the step with fewer rows then has the shortest ones, and which step is
        # the largest depends on its rows only, not on how they are cut.
        starts = range(0, max(whole, len(order) - whole + 1), whole)
        ends = [*starts[1:], len(order)]
        grouped = [
            sorted(order[start:end], key=lambda row: (self.kinds[row] if self.kinds else "", -self.lengths[row], row))
            for start, end in zip(starts, ends, strict=True)
        ]
        steps = list(itertools.chain.from_iterable(self._cut(group) for group in grouped))
        draw.shuffle(steps)
        # The largest step of all goes first: what does not fit into memory shows at once.
        largest = max(range(len(steps)), key=lambda step: self._largest(steps[step]), default=0)
        return steps[largest : largest + 1] + steps[:largest] + steps[largest + 1 :]

    def _cut(self, order: Sequence[int]) -> list[list[Batch]]:
        return _chunks(_chunks(order, self.rows), self.accumulation * self.processes)

    def _largest(self, step: list[Batch]) -> tuple[int, int]:
        return max(len(batch) * max(self.lengths[row] for row in batch) for batch in step), sum(map(len, step))


def choose_piece(width: int) -> int:
    """Tokens of a piece for a model whose numbers have `width` bytes."""
    return FULL_PIECE if width >= 4 else PIECE


def cut_batch(batch: Sequence[int], lengths: Sequence[int], tokens: int = PIECE) -> list[Batch]:
    """`batch` cut, in its order, into batches of at most `tokens` tokens; a longer row stands alone."""
    result: list[Batch] = []
    width = 0
    for row in batch:
        width = max(width, lengths[row])
        if result and width * (len(result[-1]) + 1) <= tokens:
            result[-1].append(row)
        else:
            result.append([row])
            width = lengths[row]
    return result


def count_positions(batches: Sequence[Batch], lengths: Sequence[int]) -> int:
    """Of all `batches`, each padded to its longest row."""
    return sum(len(batch) * max(lengths[row] for row in batch) for batch in batches if batch)


def _chunks(items: Sequence[T], size: int) -> list[list[T]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
