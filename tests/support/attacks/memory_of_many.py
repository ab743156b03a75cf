"""Takes little memory in each of many processes."""

import contextlib
import os
import time

with contextlib.suppress(OSError):
    for _ in range(6):
        os.fork()
x = bytearray(b"x") * (24 * 2**20)
time.sleep(600)
