"""Does nothing wrong: its children end while it is busy with something else."""

import os
import time

for i in range(8):
    if os.fork() == 0:
        x = bytearray(2**24)
        time.sleep(i / 20)
        os._exit(0)
time.sleep(0.6)
print("done")
