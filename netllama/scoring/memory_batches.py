"""Batches that a device's memory decides: sized by what is free, halved where that was too much.

A row's scores do not depend on what else is in its batch, so a halved batch has the scores of the whole one.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from netllama.core.errors import StageError
from netllama.models.device_memory import count_reading_tokens, measure_free_memory, read_shape

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

Result = TypeVar("Result")
CPU_TOKENS = 2048
"""Of a batch on a CPU, padding included: larger ones were no faster."""


def choose_tokens(model: "LanguageModel") -> int:
    """How many tokens, padding included, may go through `model` together on its device, to be read or written."""
    if model.device.type != "cuda":
        return CPU_TOKENS
    outer: Any = model
    causal = outer.get_base_model() if hasattr(outer, "get_base_model") else outer
    return count_reading_tokens(read_shape(causal), measure_free_memory(), causal.dtype.itemsize)


class MemoryBatches:
    """Runs batches of positions, and remembers how many tokens were too many."""

    def __init__(self, widths: Sequence[int], where: str) -> None:
        """`widths`: tokens of each position; `where`: what was done, for the error where one row is too much."""
        self.widths, self.where = widths, where
        self.too_many = float("inf")

    def run(
        self, batches: Iterator[list[int]], compute: Callable[[list[int]], Result]
    ) -> Iterator[tuple[list[int], Result]]:
        """Each batch, or its halves (and theirs) in order, with what `compute` made of it.

        StageError where the device's memory does not suffice for one row.
        """
        import torch

        for batch in batches:
            waiting = [batch]
            while waiting:
                part = waiting.pop()
                widest = max(self.widths[position] for position in part)
                if len(part) == 1 or len(part) * widest < self.too_many:
                    try:
                        result = compute(part)
                    except torch.OutOfMemoryError:
                        self.too_many = len(part) * widest
                    else:
                        yield part, result
                        continue
                    # After the error is gone, which holds what the batch had made.
                    _free_memory()
                if len(part) == 1:
                    raise StageError(
                        f"{self.where}: the device's memory is full with one row of {widest:,} tokens; free the "
                        "device, or set loading.quantization to nf4 and loading.quantized_weights to packed"
                    )
                half = (len(part) + 1) // 2
                waiting += [part[half:], part[:half]]


def _free_memory() -> None:
    import torch

    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
