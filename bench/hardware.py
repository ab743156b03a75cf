"""What a benchmark ran on, for the first line of its output."""

import os
import platform
import time
from pathlib import Path


def hardware() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def matmul_flops_a_second() -> float:
    """What this machine's bf16 matrix product reaches on all threads: the best of ten of 2048 x 2048."""
    import torch

    size, best = 2048, float("inf")
    left, right = (torch.randn(size, size, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(10):
        start = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
