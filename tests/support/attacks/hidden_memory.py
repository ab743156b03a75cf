"""Takes memory of which it keeps a page in sight: the rest stays, though no process maps it."""

import ctypes
import mmap
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
LENGTH = 2**26
sources = [(mmap.MAP_SHARED | mmap.MAP_ANONYMOUS, -1)]
try:
    sources.append((mmap.MAP_SHARED, os.open("/dev/zero", os.O_RDWR)))
except OSError:
    pass
for flags, descriptor in sources:
    for _ in range(20):
        place = libc.mmap(None, ctypes.c_size_t(LENGTH), 3, flags, descriptor, ctypes.c_long(0))
        if place == ctypes.c_void_p(-1).value:
            break
        ctypes.memset(place, 1, LENGTH)
        libc.munmap(ctypes.c_void_p(place + 4096), ctypes.c_size_t(LENGTH - 4096))
    else:
        print("ESCAPED")
print("done")
