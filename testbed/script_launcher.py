"""Set the limits of a script, then run it in this process.

Run    python -I -S script_launcher.py BYTES COMMAND...    (-I -S: starts in 8 ms, whatever the environment holds)

BYTES is the size of the largest file that the command may write. Ctrl-C interrupts the command even if the parent
ignores it, as background jobs of a shell do. A `preexec_fn` of subprocess would do the same, but it can deadlock when
the parent has threads.
"""

import os
import resource
import signal
import sys

largest, *command = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(command[0], command)
