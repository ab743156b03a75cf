"""Never ends, and ignores the interrupt."""

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
while True:
    pass
