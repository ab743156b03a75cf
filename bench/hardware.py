"""The hardware that a benchmark runs on, and how fast it multiplies matrices in each precision.

Run    python -m bench.hardware [--check]
       --check: exit code 1 if `loading.precision: auto` takes the slower precision here
"""

import argparse
import platform
import time
from pathlib import Path

from netllama.core.cores import count_cores
from netllama.models.precision import choose, describe_precision

AUTO_MARGIN = 0.95
"""`auto` is right if its precision reaches this share of the faster one."""


def describe_hardware() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {count_cores()} cores, Python {platform.python_version()}"


def measure_matmul_speed(precision: str) -> float:
    """Floating-point operations a second of matrix products on all threads: the best of ten of 2048 x 2048."""
    import torch

    size, best = 2048, float("inf")
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
    for _ in range(10):
        start = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def measure_matmul_speeds() -> dict[str, float]:
    """By precision, on as many threads as this process may use cores."""
    from netllama.cpu_layers.limits import limit_cpu_use

    limit_cpu_use()
    return {precision: measure_matmul_speed(precision) for precision in ("bf16", "fp32")}


def main() -> None:
    parser = argparse.ArgumentParser(description="Matrix products in bf16 and fp32.")
    parser.add_argument("--check", action="store_true", help="exit with 1 if auto takes the slower precision here")
    check = parser.parse_args().check
    speeds = measure_matmul_speeds()
    print(f"{describe_hardware()}; {describe_precision('auto')}\n")
    print("| precision | matrix product, GFLOP/s |\n|---|---|")
    for precision, speed in speeds.items():
        print(f"| {precision} | {speed / 1e9:,.0f} |")
    taken, faster = choose("auto")[0], max(speeds, key=speeds.__getitem__)
    share = speeds.get(taken, 0.0) / speeds[faster]
    verdict = "the faster one" if share >= AUTO_MARGIN else f"the slower one: set loading.precision to {faster}"
    print(f"\nauto takes {taken}: {verdict} ({share:.2f} of the speed of {faster})")
    if check and share < AUTO_MARGIN:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
