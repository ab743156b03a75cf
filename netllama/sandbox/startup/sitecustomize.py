"""Python imports this at its start, before a script in the sandbox: notes what the script tries to reach.

One line for each host that it names or connects to, in the file that SANDBOX_NOTES names. This tells what a script
wanted; what keeps it from the network is the kernel.
"""

import os
import sys

_MOST = 100
_seen: set[str] = set()


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
        try:
            with open(_NOTES, "a", encoding="utf-8", errors="replace") as file:
                file.write(ascii(text)[1:-1] + "\n")
        except OSError:
            pass


if _NOTES := os.environ.pop("SANDBOX_NOTES", ""):
    sys.addaudithook(_note_attempt)
