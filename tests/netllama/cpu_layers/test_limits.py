"""Threads and kernels of torch on a CPU: no more than this process may use, or needs."""

import ctypes
import os
import subprocess
import sys

import pytest
import torch

from netllama.cpu_layers import limits
from netllama.cpu_layers.limits import limit_cpu_use
from tests.support.clones import ROOT


@pytest.mark.parametrize(("threads", "cores", "expected"), [(4, 2, 2), (1, 2, 1)])
def test_a_quota_of_cores_bounds_the_threads_and_fewer_stay_fewer(
    monkeypatch: pytest.MonkeyPatch, threads: int, cores: int, expected: int
) -> None:
    monkeypatch.setattr(limits, "count_cores", lambda: cores)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        limit_cpu_use()
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)


KERNELS = """
import ctypes
import torch
from netllama.cpu_layers.limits import limit_kernel_cache

if {bounded}:
    limit_kernel_cache()

class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

mallinfo2 = ctypes.CDLL("libc.so.6").mallinfo2
mallinfo2.restype = Mallinfo2
weight, used = torch.ones(64, 64, dtype=torch.bfloat16), []
for rows in range(64, 464):
    torch.mm(torch.ones(rows, 64, dtype=torch.bfloat16), weight)
    used.append(mallinfo2().uordblks)
print(used[-1] - used[99])
"""


@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has no bf16 kernels here")
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library does not count its memory")
def test_kernels_of_earlier_lengths_are_not_kept() -> None:
    """Bytes by which 300 more shapes of a matrix product raise what the process holds."""
    grown = {}
    # Without what `limit_cpu_use` set in this process.
    environment = {name: value for name, value in os.environ.items() if not name.endswith("CACHE_CAPACITY")}
    for bounded in (True, False):
        command = [sys.executable, "-c", KERNELS.format(bounded=bounded)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        grown[bounded] = int(done.stdout)
    assert grown[False] > 5 * max(grown[True], 100_000)


FREED = """
from pathlib import Path
import torch
from netllama.cpu_layers.limits import keep_freed_memory

if {kept}:
    keep_freed_memory()

def count_resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

torch.zeros(8).add_(1)
before = count_resident()
tensors = [torch.ones(2**20) for _ in range(20)]
del tensors
print(count_resident() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="the C library is not glibc")
def test_the_memory_of_freed_tensors_is_kept() -> None:
    """Bytes that stay with the process of 80 MB that it has freed."""
    left = {}
    for kept in (True, False):
        command = [sys.executable, "-c", FREED.format(kept=kept)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        left[kept] = int(done.stdout)
    assert left[True] > 60 * 2**20 > 20 * 2**20 > left[False]
