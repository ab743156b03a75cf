"""What is seen of a run: one bar with loss, tokens a second and time left; afterwards speed and memory."""

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from netllama.training.batch_plan import Batch, count_positions


@dataclass(frozen=True)
class SpeedReport:
    """Speed of the steps since the run was started or resumed; memory of this process and of its device."""

    steps: int
    seconds: float
    tokens_per_second: float
    """Real tokens, without padding."""
    trained_tokens_per_second: float
    padding_share: float
    """Share of padding among all positions that went through the model."""
    peak_memory_mb: dict[str, int]
    """In 10^6 bytes: `process`, and `device` where there is one."""
    threads: int
    device: str


class Progress:
    """Counts steps and tokens, with a bar that is `visible` on the first process only."""

    def __init__(self, steps: int, done: int, visible: bool) -> None:
        self.bar = tqdm(total=steps, initial=done, desc="train", unit="step", disable=not visible)
        self.shown: dict[str, str] = {}
        self.seconds = 0.0
        self.steps = self.tokens = self.trained = self.padded = 0
        self._started = time.perf_counter()

    def start_step(self) -> None:
        self._started = time.perf_counter()

    def end_step(self, loss: float, batches: Sequence[Batch], lengths: Sequence[int], trained: int) -> None:
        """`batches` of rows of these `lengths` went through all processes together; `trained` tokens had a loss."""
        self.seconds += time.perf_counter() - self._started
        self.steps += 1
        self.tokens += sum(lengths[row] for batch in batches for row in batch)
        self.trained += trained
        self.padded += count_positions(batches, lengths)
        self.shown |= {"loss": f"{loss:.3f}", "tok/s": f"{self.tokens / self.seconds:.0f}"}
        self.bar.set_postfix(self.shown, refresh=False)
        self.bar.update()

    def show_validation(self, loss: float) -> None:
        self.shown["val_loss"] = f"{loss:.3f}"
        self.bar.set_postfix(self.shown)

    def close(self) -> None:
        self.bar.close()

    def report(self) -> SpeedReport:
        seconds = self.seconds or float("nan")
        return SpeedReport(
            steps=self.steps,
            seconds=round(self.seconds, 2),
            tokens_per_second=round(self.tokens / seconds, 1),
            trained_tokens_per_second=round(self.trained / seconds, 1),
            padding_share=round(1 - self.tokens / self.padded, 4) if self.padded else 0.0,
            peak_memory_mb=measure_peak_memory(),
            threads=torch.get_num_threads(),
            device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        )


def measure_peak_memory() -> dict[str, int]:
    """In 10^6 bytes: of this process, and of its device where there is one."""
    scale = 1 if sys.platform == "darwin" else 1024
    peak = {"process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6)}
    if torch.cuda.is_available():
        peak["device"] = round(torch.cuda.max_memory_allocated() / 1e6)
    return peak
