"""Locks between processes. The system releases the lock of a process that ends, even if it was killed.

They work between machines too, if these share a network filesystem that supports flock (NFSv4 does).
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

PATIENCE = 3.0
"""Seconds after which a process that waits says so."""
POLL = 0.01
"""Seconds between two tries."""


@contextmanager
def hold_lock(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock file `path`, which is created if missing and never deleted.

    `doing` says what a holder does ("builds network 1"): it becomes part of the line that a waiting process prints.
    Raises RuntimeError if this thread already holds the lock.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, poll_interval=POLL)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        print(f"waiting for another process that {doing} ...", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@asynccontextmanager
async def hold_lock_async(path: Path, doing: str) -> AsyncIterator[None]:
    """`hold_lock` for a coroutine: other coroutines run while it waits, and Ctrl-C stops it."""
    from filelock import FileLock, Timeout

    lock, tries = FileLock(path), 0
    while not lock.is_locked:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            tries += 1
            if tries == round(PATIENCE / POLL):
                print(f"waiting for another process that {doing} ...", flush=True)
            await asyncio.sleep(POLL)
    try:
        yield
    finally:
        lock.release()
