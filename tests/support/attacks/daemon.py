"""Leaves a process in a session of its own."""

import os
import sys
import time

sleep = [sys.executable, "-c", "import time; time.sleep(600)", sys.argv[1]]
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sleep[0], sleep)
    os._exit(0)
time.sleep(0.2)
