"""Stops a run that learns nothing or learns nonsense, and names the rows that did it."""

import math
from collections.abc import Callable, Sequence

import torch

from netllama.core.errors import StageError

# A gradient scaler tries a scale, skips the step where a gradient overflows, and halves it: from 65,536 down to 1.
MOST_SKIPS = 17
_SHOWN = 5


class Watchdog:
    """Looks at each step before its update.

    `row_loss` is the loss of one row alone, to find the ones to blame; `healthy` tells whether all weights are finite.
    It is given numbers, not tensors: a GPU is waited for once a step, for all of them together.
    """

    def __init__(self, ids: Sequence[str], row_loss: Callable[[int], float], healthy: Callable[[], bool]) -> None:
        self.ids, self.row_loss, self.healthy = ids, row_loss, healthy
        self.skipped = 0

    def check_loss(self, step: int, loss: float, rows: Sequence[int]) -> None:
        """The loss of the step's `rows` must be a finite number, and not zero."""
        if not math.isfinite(loss):
            bad = [row for row in rows if not math.isfinite(self.row_loss(row))]
            if bad and not self.healthy():
                raise StageError(
                    f"train: loss is {loss} at step {step}, for each of its rows ({self._names(rows)}): the adapter's "
                    "weights diverged; lower train.learning_rate, or set loading.precision to fp32"
                )
            raise StageError(f"train: loss is {loss} at step {step}, because of {self._names(bad) or 'no single row'}")
        if loss == 0:
            raise StageError(
                f"train: loss is 0 at step {step}: nothing is trained in {self._names(rows)}; look at "
                "data/tokenized/preview.md and at the answers of these rows"
            )

    def check_gradients(self, step: int, norm: float, dead: Sequence[str], rows: Sequence[int], scaled: bool) -> None:
        """Every B matrix must get a gradient (A gets none in the first step, while B is zero): `dead` are without one.

        A layer without one is how a frozen layer without a backward pass shows (netllama/models/loading.py).
        """
        if not math.isfinite(norm):
            self.skipped += 1
            if scaled and self.skipped < MOST_SKIPS:
                return
            raise StageError(
                f"train: the gradient is {norm} at step {step} ({self._names(rows)}); lower train.learning_rate, or "
                "set loading.precision to bf16 or fp32"
            )
        self.skipped = 0
        if dead or norm == 0:
            layers = (
                f"{len(dead)} of the adapter's layers, {dead[0].split('.lora_B')[0]} first" if dead else "any layer"
            )
            raise StageError(f"train: no gradient reaches {layers}, at step {step} ({self._names(rows)})")

    def _names(self, rows: Sequence[int]) -> str:
        more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
        return ", ".join(self.ids[row] for row in rows[:_SHOWN]) + more


def flag_gradients(weights: Sequence[tuple[str, torch.nn.Parameter]]) -> torch.Tensor:
    """[W], on the weights' device: 1 where a gradient has an entry that is not 0, 0 where it has none or is missing."""
    if not weights:
        return torch.zeros(0)
    flags = [
        weight.grad.any() if weight.grad is not None else weight.new_zeros((), dtype=torch.bool)
        for _, weight in weights
    ]
    return torch.stack(flags).float()
