"""Starts threads until it may not, and says how many."""

import threading
import time

n = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        n += 1
except RuntimeError:
    print(n, flush=True)
    import os

    os._exit(0)
