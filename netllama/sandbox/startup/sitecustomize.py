"""Python imports this at its start, before a script in the sandbox: notes what the script tries to reach, and reads.

One line for each host that it names or connects to, in the file that SANDBOX_NOTES names. This tells what a script
wanted; what keeps it from the network is the kernel. And one line, `read PATH`, for each file of its working directory
that it opens to read: a library that opens files without Python (Arrow's) is not seen.
"""

import os
import sys

_MOST = 100
_READ = "read "
_seen: set[str] = set()
_read: set[str] = set()
_writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def _note_event(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open":
        _note_read(arguments[0], arguments[2])
    else:
        _note_attempt(event, arguments)


def _note_read(path: object, flags: object) -> None:
    if not isinstance(path, str | bytes | os.PathLike) or not isinstance(flags, int) or flags & _writing:
        return
    try:
        place = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - pathlib would take 20 ms before every script
    except OSError:  # the working directory is gone
        return
    if place.startswith(_FOLDER) and place not in _read and len(_read) < _MOST:
        _read.add(place)
        _write_note(_READ + place[len(_FOLDER) :])


def _note_attempt(event: str, arguments: tuple[object, ...]) -> None:
    if not event.startswith("socket."):
        return
    text = ""
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = str(arguments[0] or "localhost")
        # Addresses and this machine's own name are no network's business; Scapy asks for both at import.
        text = "" if host == "localhost" or ":" in host or host.replace(".", "").isdigit() else f"look up {host}"
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        text = f"send to {address[0]}" if isinstance(address, tuple) else ""
    elif event == "socket.__new__":
        _, family, kind, *_ = arguments
        if family in (2, 10) and kind in (1, 1 | 0o2000000):  # TCP over IPv4 or IPv6
            text = "open a TCP socket"
    if text and text not in _seen and len(_seen) < _MOST:
        _seen.add(text)
        _write_note(text)


def _write_note(text: str) -> None:
    try:
        with open(_NOTES, "a", encoding="utf-8", errors="replace") as file:
            file.write(ascii(text)[1:-1] + "\n")
    except OSError:
        pass


if _NOTES := os.environ.pop("SANDBOX_NOTES", ""):
    _FOLDER = f"{os.getcwd()}/"  # noqa: PTH109
    sys.addaudithook(_note_event)
