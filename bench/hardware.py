"""The hardware that a benchmark runs on, for the first line of its output."""

import os
import platform
import time
from pathlib import Path


def describe_hardware() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def measure_matmul_speed() -> float:
    """Floating-point operations a second of bf16 matrix products on all threads: the best of ten of 2048 x 2048."""
    import torch

    size, best = 2048, float("inf")
    left, right = (torch.randn(size, size, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(10):
        start = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
