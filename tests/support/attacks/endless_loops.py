"""Never ends, in several processes."""

import os

for _ in range(3):
    os.fork()
while True:
    pass
