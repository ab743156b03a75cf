"""Takes memory until there is none."""

x = []
while True:
    x.append(bytearray(2**24))
