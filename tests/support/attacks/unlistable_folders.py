"""Fills files in folders that nobody may list."""

import os

i = 0
while True:
    i += 1
    os.mkdir(f"folder-{i}", 0o300)
    open(f"folder-{i}/file", "wb").write(bytes(2**22))
