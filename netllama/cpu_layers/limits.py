"""Limits for torch on a CPU, to be set before a process's first matrix product."""

import os

from netllama.core.cores import count_cores


def limit_cpu_use() -> None:
    """No more threads than cores, and few kernels kept."""
    limit_kernel_cache()
    limit_threads()


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
