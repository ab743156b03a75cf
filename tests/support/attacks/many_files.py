"""Makes empty files without end."""

i = 0
while True:
    open(str(i), "w").close()
    i += 1
