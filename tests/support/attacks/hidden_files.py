"""Fills files that have no name, in a process that no other may look at."""

import ctypes
import os

ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
kept = []
while True:
    kept.append(open("file", "wb"))
    os.remove("file")
    kept[-1].write(bytes(2**22))
    kept[-1].flush()
