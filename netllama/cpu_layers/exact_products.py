"""Products of bf16 numbers with fp32 results, which torch has no function for on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def multiply_in_bf16(*operands: Tensor) -> Iterator[None]:
    """Let a CPU multiply fp32 matrices as bf16 ones, with sums and results in fp32, if all `operands` are bf16.

    Numbers that came from bf16 lose nothing by that, so the products are as exact as in fp32. With AMX they take a
    quarter of the time; a CPU without it goes on as before.
    """
    setting = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = setting.fp32_precision
    if all(operand.dtype == torch.bfloat16 for operand in operands):
        setting.fp32_precision = "bf16"
    try:
        yield
    finally:
        setting.fp32_precision = before
