"""Fills files that have no name, and keeps them open."""

import os

kept = []
while True:
    kept.append(open("file", "wb"))
    os.remove("file")
    kept[-1].write(bytes(2**22))
    kept[-1].flush()
