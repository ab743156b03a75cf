"""Fills files without end."""

i = 0
while True:
    i += 1
    open(str(i), "wb").write(bytes(2**22))
