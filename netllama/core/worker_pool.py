"""A function over chunks in worker processes, the results in the chunks' order: the same for any number of workers.

The workers are spawned, not forked: a copy of a process that has threads (Arrow's, the progress bar's) can hang. Each
builds its function once. No more than two chunks a worker are under way, so that memory does not grow with the data.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from netllama.core.errors import StageError

T = TypeVar("T")
_function: Callable[..., Any]
"""Of a worker process."""


def map_in_order(build: Callable[[], Callable[..., T]], chunks: Iterable[tuple[Any, ...]], workers: int) -> Iterator[T]:
    """`build()(*chunk)` for each chunk; an error of a chunk is raised in its turn. One worker: this very process."""
    if workers <= 1:
        function = build()
        yield from (function(*chunk) for chunk in chunks)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (build,))
    waiting: deque[Future[T]] = deque()
    try:
        for chunk in chunks:
            waiting.append(pool.submit(_call, chunk))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise StageError("a worker process ended before its work: out of memory, or killed; run it again") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start(build: Callable[[], Callable[..., Any]]) -> None:
    global _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, and that ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a process a core is enough
    _function = build()


def _end_with_parent() -> None:
    """A parent that is killed outright can't end its workers, which would wait for work for ever."""
    if parent := parent_process():
        parent.join()
        os._exit(1)


def _call(chunk: tuple[Any, ...]) -> Any:
    return _function(*chunk)
