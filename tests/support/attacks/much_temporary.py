"""Fills the folder for temporary files."""

import tempfile

try:
    for i in range(200):
        open(f"{tempfile.gettempdir()}/{i}", "wb").write(bytes(2**22))
    print("ESCAPED")
except OSError:
    print("full")
