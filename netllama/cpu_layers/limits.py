"""Limits for torch on a CPU, to be set before a process's first matrix product."""

import ctypes
import os

from netllama.core.cores import count_cores

# Of glibc's malloc.h, and the largest block that it takes from the heap.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, LARGEST_IN_HEAP = -1, -3, 32 * 2**20


def limit_cpu_use() -> None:
    """No more threads than cores, few kernels kept, and freed memory used again."""
    limit_kernel_cache()
    limit_threads()
    keep_freed_memory()


def limit_kernel_cache() -> None:
    """Let oneDNN keep the kernels of the last shapes only; before the process's first matrix product.

    It makes one for each shape, of up to 0.5 MB, and keeps 1,024: a step of other lengths than those before adds 36 MB,
    scattered over the heap, so that 32 steps of r=64 peaked at 3.4 GB instead of 2.3, and scoring at 8.5 GB. Making
    them again takes no time to speak of.
    """
    for variable in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(variable, "64")


def limit_threads() -> None:
    """No more threads than this process may use cores: torch does not see a container's quota, and threads that share
    a core wait for each other."""
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), count_cores()))


def keep_freed_memory() -> None:
    """Let the C library give no memory of tensors up to 32 MB back to the system; nothing where it is not glibc.

    What it gives back it must ask for again at the next batch, and the system clears it page by page: 157,000 pages in
    three steps of r=64, 2% of their time. The peak is the same.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(M_MMAP_THRESHOLD, LARGEST_IN_HEAP)
        library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
